"""How a model's forward pass is computed: which layers in one pass, and what each pass moves."""

from __future__ import annotations

import copy
import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from bn import _check
from bn.recording.record import Call, Record
from bn.recording.value import Value
from bn.recording.waiting import Joinable
from bn.table import boxed
from bn.types import Array, Shape

if TYPE_CHECKING:
    from bn.module import Module

TITLES = ("Computed in one pass", "How", "Output Shape", "Bytes")


class Plan(Record):
    """A record that holds on to its values."""

    def __init__(self, model: Module) -> None:
        super().__init__(model, {})
        self.values: list[Value] = []

    def new_value(self, array: Array | None) -> Value:
        value = super().new_value(array)
        self.values.append(value)
        return value


def plan(model: Module, input_shape: Shape, batch_size: int = 32) -> str:
    """Describe how a model's forward pass is computed, in its mode of training or evaluation.

    Parameters
    ----------
    model : Module
        It is not changed.
    input_shape : tuple of int
        The shape of one input, without the batch axis.
    batch_size : int
        Samples in the batch.

    Returns
    -------
    str
        A row for each pass. The bytes are those of the arrays that it reads and writes; a batch
        normalization in training reads its input once more, for the statistics.

    Raises
    ------
    TypeError
        The model has a backward pass of its own.
    ValueError
        A layer does not fit the shape that it gets.

    Examples
    --------
    >>> import bn
    >>> from bn import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 16, 3), bn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
    >>> print(plan(model, (3, 10, 10), batch_size=2))
    Model: Sequential, training, batches of 2
    ┌──────────────────────┬──────────────────┬───────────────┬────────┐
    │ Computed in one pass │ How              │ Output Shape  │  Bytes │
    ├──────────────────────┼──────────────────┼───────────────┼────────┤
    │ 0                    │ kernels          │ (2, 16, 8, 8) │ 12,384 │
    │ 1 + 2 + 3            │ batch statistics │ (2, 16, 4, 4) │ 23,168 │
    └──────────────────────┴──────────────────┴───────────────┴────────┘
    Bytes: 35,552
    """
    shape = _check.shape_tuple("input_shape", input_shape)
    _check.positive_int("batch_size", batch_size)
    _check.recorded_model("plan", type(model).__name__, model.records)
    twin = copy.deepcopy(model)
    x = np.zeros((batch_size, *shape), np.int64 if _check.takes_integers(model) else np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Plan(twin).run(x)  # from it, the next one knows which values several layers need
        record = Plan(twin)
        record.run(x)
    absorbed = {id(before) for call in record.calls for before in call.joined}
    rows, total = [], 0
    for call in record.calls:
        if id(call) in absorbed:
            continue
        size = moved(record, call)
        total += size
        names = " + ".join(_label(each) for each in (*call.joined, call))
        how = call.waiting.how() if isinstance(call.waiting, Joinable) else ""
        rows.append((names, how, f"{record.values[call.output].shape}", f"{size:,}"))
    mode = "training" if model.training else "evaluation"
    return "\n".join(
        [
            f"Model: {type(model).__name__}, {mode}, batches of {batch_size}",
            boxed(TITLES, rows, left=3),
            f"Bytes: {total:,}",
        ]
    )


def moved(record: Plan, call: Call) -> int:
    """The bytes of the arrays that a call reads and writes."""
    numbers = [o for o in call.operands if type(o) is int]
    if call.waiting is None and call.layer is not None and call.layer.reads_again():
        numbers += numbers[:1]
    arrays = sum(_bytes(record.values[number]) for number in (*numbers, call.output, *call.others))
    layers = {id(c.layer): c.layer for c in (*call.joined, call) if c.layer is not None}
    weights = sum(p.data.nbytes for layer in layers.values() for p in layer.parameters())
    return arrays + weights + (call.waiting.extra_bytes() if call.waiting is not None else 0)


def _label(call: Call) -> str:
    """The path of a layer, or an operation and the path of the model that it is in."""
    if call.layer is not None:
        return call.path
    return f"{call.path} ({call.name})" if call.path else call.name


def _bytes(value: Value) -> int:
    return math.prod(value.shape) * value.dtype.itemsize
