"""The operations of a recorded forward as nodes of ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bn import _check
from bn.onnx.graph import Graph
from bn.onnx.happenings import Happening

INT64 = np.iinfo(np.int64)
BINARY = {"add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div"}


def reshape(graph: Graph, step: Happening, x: str) -> str:
    """The node of a reshape: 0 keeps an axis, and -1 is what is left."""
    (before, after), (other_before, other_after) = step.shapes
    if len(after) != len(other_after):
        raise _check.depends_on_batch("the number of axes of a reshape")
    shape = []
    for i, (n, m) in enumerate(zip(after, other_after, strict=True)):
        kept = i < len(before) and (before[i], other_before[i]) == (n, m)
        shape.append(n if n == m and n else 0 if kept else -1)
    if shape.count(-1) > 1:
        raise _check.depends_on_batch("more than one axis of a reshape")
    return graph.node("Reshape", [x, graph.integers(*shape)])


def mean(graph: Graph, step: Happening, x: str) -> str:
    """The node of a mean."""
    axes = graph.integers(*step.options["axes"])
    return graph.node("ReduceMean", [x, axes], keepdims=int(step.options["keepdims"]))


def transpose(graph: Graph, step: Happening, x: str) -> str:
    """The node of a transposition."""
    return graph.permuted(x, step.options["axes"])


def part(graph: Graph, step: Happening, x: str) -> str:
    """The nodes of an index: slices first, then integers, then new axes."""
    shape = step.shapes[0][0]
    items = _whole_index(step.options["index"], len(shape))
    old = [item for item in items if item is not None]
    slices = {axis: s for axis, s in enumerate(old) if isinstance(s, slice) and s != slice(None)}
    if slices:
        rows = [_bounds(s, shape[axis], axis) for axis, s in slices.items()]
        starts, stops, steps = (graph.integers(*column) for column in zip(*rows, strict=True))
        x = graph.node("Slice", [x, starts, stops, graph.integers(*slices), steps])
    for axis in reversed(range(len(old))):
        if not isinstance(old[axis], slice):
            x = graph.node("Gather", [x, graph.constant(np.int64(old[axis]))], axis=axis)
    kept = [item for item in items if item is None or isinstance(item, slice)]
    new = [axis for axis, item in enumerate(kept) if item is None]
    return graph.node("Unsqueeze", [x, graph.integers(*new)]) if new else x


def _whole_index(index: Any, ndim: int) -> list[Any]:
    """An index with an item for each axis, and None for each new one."""
    items = list(index) if isinstance(index, tuple) else [index]
    given = sum(item is not None and item is not Ellipsis for item in items)
    rest = [slice(None)] * (ndim - given)
    for i, item in enumerate(items):
        if item is Ellipsis:
            return [*items[:i], *rest, *items[i + 1 :]]
    return [*items, *rest]


def _bounds(s: slice, length: int, axis: int) -> tuple[int, int, int]:
    """The start, stop and step of a slice. The length of the first axis is not known."""
    step = 1 if s.step is None else int(s.step)
    if axis > 0:
        start, stop, step = s.indices(length)
        return start, INT64.min if stop < 0 else stop, step
    first, last = (0, INT64.max) if step > 0 else (INT64.max, INT64.min)
    return (first if s.start is None else s.start), (last if s.stop is None else s.stop), step


UNARY: dict[str, Callable[[Graph, Happening, str], str]] = {
    "index": part,
    "mean": mean,
    "negative": lambda graph, step, x: graph.node("Neg", [x]),
    "reshape": reshape,
    "transpose": transpose,
}


def operation(graph: Graph, step: Happening, inputs: Sequence[str]) -> str:
    """The name of the value of an operation, whose nodes are added.

    Parameters
    ----------
    graph : Graph
    step : Happening
    inputs : sequence of str
        The names of its operands.
    """
    graph.place = ""
    if step.name in BINARY:
        return graph.node(BINARY[step.name], inputs)
    if step.name == "concatenate":
        return graph.node("Concat", inputs, axis=step.options["axis"])
    if step.name not in UNARY:
        raise _check.not_in_onnx(step.name, "", "there is no such operator")
    return UNARY[step.name](graph, step, inputs[0])
