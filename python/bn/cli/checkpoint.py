"""The file model.npz: a trained network, and what `predict` needs to use it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from bn import _check, nn
from bn.cli import models
from bn.cli.data import Dataset, Light, Pixels
from bn.cli.norms import NORMS
from bn.module import Module
from bn.nn.checkpoint import shapes
from bn.types import Shape


@dataclass(frozen=True)
class Checkpoint:
    """The metadata that `train` writes beside the weights."""

    model: str
    input_shape: Shape  # (C, H, W)
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    light: Light | None = None  # files of earlier versions have neither this nor the next
    norm: str = "batch"

    @property
    def pixels(self) -> Pixels:
        return Pixels(self.mean, self.std)

    def check_shapes(self, path: Path) -> None:
        """Check, before a network takes memory, that the file has the weights of such a network."""
        plan = models.large_weights(self.model, self.norm, self.input_shape, len(self.classes))
        _check.saved_shapes(path, shapes(path), plan)


def save(
    path: Path, network: Module, name: str, data: Dataset, pixels: Pixels, norm: str = "batch"
) -> None:
    """Write the network, with its name, the shape and scaling of its input, and its classes."""
    light = Light.of(data)
    about = Checkpoint(name, data.shape, data.classes, pixels.mean, pixels.std, light, norm)
    nn.save(path, network, metadata=asdict(about))


def load(path: Path) -> tuple[Module, Checkpoint]:
    """Load the network, in eval mode, and its metadata.

    Raises
    ------
    ValueError
        The file is not a checkpoint of `bn train`, or its network diverged.
    OSError
        The file cannot be read.
    """
    fields = nn.metadata(path)
    _check.training_metadata(path, fields, models.RECIPES, models.LEAST_SIZE, models.MOST_PIXELS)
    _check.norm_in_metadata(path, fields.get("norm", "batch"), NORMS)
    about = Checkpoint(
        model=fields["model"],
        input_shape=tuple(fields["input_shape"]),
        classes=tuple(fields["classes"]),
        mean=tuple(fields["mean"]),
        std=tuple(fields["std"]),
        light=None if fields.get("light") is None else Light(**fields["light"]),
        norm=fields.get("norm", "batch"),
    )
    about.check_shapes(path)
    network = models.build(about.model, about.input_shape, len(about.classes), norm=about.norm)
    nn.load(path, network)
    _check.usable_weights(path, dict(network.named_state()))
    return network.eval(), about
