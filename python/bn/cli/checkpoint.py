"""model.npz: a network and what is needed to rebuild it and to feed it images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from bn import _check, nn
from bn.cli import models
from bn.cli.data import Dataset, Pixels
from bn.module import Module, Shape


@dataclass(frozen=True)
class Checkpoint:
    """What `train` writes beside the weights."""

    model: str
    input_shape: Shape  # (C, H, W)
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def pixels(self) -> Pixels:
        return Pixels(self.mean, self.std)


def save(path: Path, network: Module, name: str, data: Dataset, pixels: Pixels) -> None:
    """Write the network with its name, input and classes."""
    about = Checkpoint(name, data.shape, data.classes, pixels.mean, pixels.std)
    nn.save(path, network, metadata=asdict(about))


def load(path: Path) -> tuple[Module, Checkpoint]:
    """The network, in eval mode, and what it was trained for.

    Raises
    ------
    ValueError
        The file is no checkpoint, none that `python -m bn train` wrote, or of a network that
        diverged.
    OSError
        The file cannot be read.
    """
    fields = nn.metadata(path)
    _check.training_metadata(path, fields, models.RECIPES, models.LEAST_SIZE)
    about = Checkpoint(
        model=fields["model"],
        input_shape=tuple(fields["input_shape"]),
        classes=tuple(fields["classes"]),
        mean=tuple(fields["mean"]),
        std=tuple(fields["std"]),
    )
    network = models.build(about.model, about.input_shape, len(about.classes), batch_norm=True)
    nn.load(path, network)
    _check.usable_weights(path, dict(network.named_state()))
    return network.eval(), about
