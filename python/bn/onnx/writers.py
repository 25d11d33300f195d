"""What writes which class of layers: a table that the modules of layers fill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bn.module import Module
from bn.onnx.graph import Graph
from bn.types import Array, Shape

Write = Callable[[Graph, Any, Sequence[str], Shape], Any]
WRITERS: dict[type[Module], Write] = {}


def writes(*kinds: type[Module]) -> Callable[[Write], Write]:
    """Make a function the one that writes layers of these classes.

    It gets the graph, the layer, the names of its inputs and the shape of the first one, and
    returns the name of its output, or a list of names.
    """

    def noted(write: Write) -> Write:
        WRITERS.update(dict.fromkeys(kinds, write))
        return write

    return noted


def writer_of(kind: type[Module]) -> Write | None:
    """What writes layers of a class, or of the class whose forward it has; None for nothing.

    Layers of `bn.keras` have the forward of those of `bn.nn`, and choose their padding by the size
    of the image. A class of one's own may choose anything, so it is never taken for its base.
    """
    own = not kind.__module__.startswith("bn.")
    for base in (kind,) if own else kind.__mro__:
        if base in WRITERS and kind.forward is base.forward:
            return WRITERS[base]
    return None


class Unwritable(Exception):
    """A layer has arguments that no operator of ONNX has."""


def on_channels(graph: Graph, axis: int, x: str, shape: Shape, write: Callable[[str], str]) -> str:
    """The output of an operator that needs the channels on axis 1, for x with them on another."""
    ndim = len(shape)
    axis %= ndim
    order = [0, axis, *(i for i in range(1, ndim) if i != axis)]
    back = [int(i) for i in np.argsort(order)]
    return graph.permuted(write(graph.permuted(x, order)), back)


def image_size(layer: Any, shape: Shape) -> tuple[int, int]:
    """The height and the width of the images of a shape; a signal is an image of one row."""
    lengths = shape[2:] if layer.axis == 1 else shape[1:-1]
    return (lengths[0], lengths[1]) if len(lengths) == 2 else (1, lengths[0])


def ones_or(graph: Graph, array: Array | None, shape: Shape, value: float = 1.0) -> str:
    """The name of an array, or of a constant where there is none."""
    return graph.tensor(np.full(shape, value, np.float32) if array is None else array)
