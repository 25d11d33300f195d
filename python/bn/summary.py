"""A table of a model's layers with output shapes and parameter counts, as in Keras."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from bn import _check
from bn.recording.trace import trace
from bn.table import boxed
from bn.types import Shape

if TYPE_CHECKING:
    from bn.module import Module

TITLES = ("Layer (type)", "Output Shape", "Param #")
COSTS = ("Multiply-adds", "Output bytes")
FLOAT32 = 4  # bytes


class Row(NamedTuple):
    """One line of the table: a call of a layer or model."""

    name: str
    module: Module
    output_shape: Shape

    def cells(self) -> tuple[str, str, str]:
        """Its text."""
        kind, params = type(self.module).__name__, sum(counts(self.module))
        name = f"{self.name} ({kind})" if self.name else kind
        return name, f"{(None, *self.output_shape)}", f"{params:,}"

    def costs(self) -> tuple[int, int]:
        """Multiply-adds and bytes of the output for one sample; a model has none of its own."""
        if self.module.records:
            return 0, 0
        size = math.prod(self.output_shape)
        return self.module.multiply_adds(self.output_shape), size * FLOAT32


def summary(model: Module, input_shape: Shape, costs: bool = False) -> str:
    """Build a model and describe its layers in a table.

    Parameters
    ----------
    model : Module
    input_shape : tuple of int
        The shape of one input, without the batch axis.
    costs : bool
        Also tell, for one sample, each layer's multiply-adds with weights and the bytes of its
        output in float32.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        A layer does not fit the shape it gets.
    TypeError
        `input_shape` is not a tuple of integers.

    Notes
    -----
    Buffers, such as running statistics, and frozen parameters are the non-trainable parameters. The
    counters `num_batches_tracked` are left out.

    Examples
    --------
    >>> from bn import nn
    >>> print(summary(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (4,)))
    Model: Sequential
    ┌──────────────┬──────────────┬─────────┐
    │ Layer (type) │ Output Shape │ Param # │
    ├──────────────┼──────────────┼─────────┤
    │ 0 (Linear)   │ (None, 3)    │      15 │
    │ 1 (ReLU)     │ (None, 3)    │       0 │
    └──────────────┴──────────────┴─────────┘
    Total params: 15
    Trainable params: 15
    Non-trainable params: 0
    """
    input_shape = _check.shape_tuple("input_shape", input_shape)
    _check.flag("costs", costs)
    model.output_shape(input_shape)  # raises before any layer is built
    model.build(input_shape)
    rows = _rows(model, input_shape)
    titles: tuple[str, ...] = TITLES
    table: list[tuple[str, ...]] = [row.cells() for row in rows]
    each = [row.costs() for row in rows]
    if costs:
        titles += COSTS
        table = [
            (*t, *(f"{n:,}" if n else "" for n in c)) for t, c in zip(table, each, strict=True)
        ]
    trainable, other = counts(model)
    lines = [
        f"Model: {type(model).__name__}",
        boxed(titles, table, left=2),
        f"Total params: {trainable + other:,}",
        f"Trainable params: {trainable:,}",
        f"Non-trainable params: {other:,}",
    ]
    if costs:
        multiply_adds, size = (sum(column) for column in zip(*each, strict=True))
        lines += [f"Multiply-adds: {multiply_adds:,}", f"Output bytes: {size:,}"]
    return "\n".join(lines)


def counts(module: Module) -> tuple[int, int]:
    """The numbers of trainable and non-trainable parameters in a module and all layers inside it.

    Examples
    --------
    >>> from bn import nn
    >>> counts(nn.Linear(4, 3))
    (15, 0)
    """
    frozen = {
        id(parameter)
        for layer in module.modules()
        for _, parameter in layer.own_parameters()
        if not layer.trains(parameter)
    }
    trainable = sum(p.size for p in module.parameters() if id(p) not in frozen)
    sizes = {
        id(array): array.size  # an array that layers share is counted once
        for name, array in module.named_state()
        if name.rpartition(".")[2] != "num_batches_tracked"
    }
    return trainable, sum(sizes.values()) - trainable


def _rows(model: Module, input_shape: Shape) -> list[Row]:
    """A row for each call, in their order; a layer with nothing inside is a row of its own."""
    if not model.records:
        return [Row("", model, model.output_shape(input_shape))]
    first, *inside = trace(model, input_shape)
    if not inside:
        return [Row("", model, first.output_shape)]
    return [Row("  " * v.depth + v.name, v.module, v.output_shape) for v in inside]
