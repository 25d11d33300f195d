"""The file model.npz: a trained network, and what `predict` needs to use it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from bn import _check, nn
from bn.cli import models
from bn.cli.data import Dataset, Light, Pixels
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
    light: Light | None = None  # files of earlier versions do not have it

    @property
    def pixels(self) -> Pixels:
        return Pixels(self.mean, self.std)

    def check_shapes(self, path: Path) -> None:
        """Check, before a network takes memory, that the file has the weights of such a network."""
        plan = models.design(self.model, self.input_shape, len(self.classes), batch_norm=True)
        _check.saved_shapes(path, shapes(path), plan.linear_shapes)


def save(path: Path, network: Module, name: str, data: Dataset, pixels: Pixels) -> None:
    """Write the network, with its name, the shape and scaling of its input, and its classes."""
    light = Light.of(data)
    about = Checkpoint(name, data.shape, data.classes, pixels.mean, pixels.std, light)
    nn.save(path, network, metadata=asdict(about))


def load(path: Path) -> tuple[Module, Checkpoint]:
    """Load the network, in eval mode, and its metadata.

    Raises
    ------
    ValueError
        The file is not a checkpoint of `python -m bn train`, or its network diverged.
    OSError
        The file cannot be read.
    """
    fields = nn.metadata(path)
    _check.training_metadata(path, fields, models.RECIPES, models.LEAST_SIZE, models.MOST_PIXELS)
    about = Checkpoint(
        model=fields["model"],
        input_shape=tuple(fields["input_shape"]),
        classes=tuple(fields["classes"]),
        mean=tuple(fields["mean"]),
        std=tuple(fields["std"]),
        light=None if fields.get("light") is None else Light(**fields["light"]),
    )
    about.check_shapes(path)
    network = models.build(about.model, about.input_shape, len(about.classes), batch_norm=True)
    nn.load(path, network)
    _check.usable_weights(path, dict(network.named_state()))
    return network.eval(), about
