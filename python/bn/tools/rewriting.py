"""Walking a model and replacing layers in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bn.module import Module
from bn.nn.containers import Sequential


class Place(NamedTuple):
    """A layer, and its dotted path in the model as it was."""

    path: str
    layer: Module


def merge_neighbours(model: Module, merged: Callable[[Place | None, Place], bool]) -> None:
    """Take layers out of a model that the layers before them can take over.

    Only a `Sequential` that runs its layers in order says which layer comes before which; one with
    a forward of its own, and all other modules, keep what they have.

    Parameters
    ----------
    model : Module
        It is changed. Layers behind one that leaves move up.
    merged : callable
        ``merged(before, place)``, called for each layer in each Sequential: the layer before it
        among those that stayed, or None, and itself. It returns whether the layer is to leave,
        having changed the one before.

    Examples
    --------
    >>> from bn import nn
    >>> model = nn.Sequential(nn.ReLU(), nn.ReLU(), nn.Flatten())
    >>> def twice(before, place):
    ...     return before is not None and type(before.layer) is type(place.layer)
    >>> merge_neighbours(model, twice)
    >>> model
    Sequential(
      (0): ReLU()
      (1): Flatten(start_dim=1, end_dim=-1)
    )
    """
    for path, sequential in list(model.named_modules()):
        if isinstance(sequential, Sequential) and type(sequential).forward is Sequential.forward:
            left: list[Place] = []
            for i, layer in enumerate(sequential):
                place = Place(f"{path}.{i}" if path else str(i), layer)
                if not merged(left[-1] if left else None, place):
                    left.append(place)
            sequential[:] = [place.layer for place in left]
