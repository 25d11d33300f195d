"""What happens in a model's forward pass, on shapes alone and with a batch of any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bn import _check
from bn.module import Module
from bn.recording.kept import Frame
from bn.recording.operations import Result
from bn.recording.record import path_of
from bn.recording.trace import Trace
from bn.recording.value import Value
from bn.types import Array, Shape

BATCHES = (2, 3)  # of the two passes whose comparison tells what depends on the batch


class Numbered(NamedTuple):
    """A value of the forward pass, by its number."""

    number: int


class Happening(NamedTuple):
    """One call of a layer, or one operation.

    Attributes
    ----------
    name : str
        The layer's class or the operation.
    path : str
        The layer's dotted path in the model; empty for an operation.
    layer : Module or None
    operands : tuple
        Each a `Numbered` value, or an array, a number or a Parameter.
    outputs : tuple of int
        The numbers of the values that come out.
    options : mapping
        What an operation is called with beside its operands.
    shapes : tuple of (shape, shape)
        Of the first operand and of the first output, for each of `BATCHES`.
    """

    name: str
    path: str
    layer: Module | None
    operands: tuple[Any, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]
    shapes: tuple[tuple[Shape, Shape], ...]


class Forward(NamedTuple):
    """A forward pass.

    Attributes
    ----------
    inputs : list of int
        The numbers of the model's inputs.
    steps : list of Happening
    result : int
        The number of the model's output.
    shapes : tuple of tuple of int
        Of the output, for each of `BATCHES`.
    """

    inputs: list[int]
    steps: list[Happening]
    result: int
    shapes: tuple[Shape, ...]


class Listening(Trace):
    """A trace that notes what operations and layers are called with.

    Parameters
    ----------
    model : Module
    batch : int
        Samples in the batch.
    """

    def __init__(self, model: Module, batch: int) -> None:
        super().__init__(model)
        self.batch = batch
        self.steps: list[Happening] = []

    def note_look(self, value: Value) -> None:
        raise _check.looks_at_numbers()

    def _output(
        self, layer: Module, args: Sequence[Any], options: dict[str, Any], frame: Frame
    ) -> Any:
        y = super()._output(layer, args, options, frame)
        first, *others = y if type(y) is tuple else (y,)
        whole = np.broadcast_to(first, (self.batch, *first.shape[1:]))
        return (whole, *others) if others else whole

    def _layer(self, layer: Module, args: Sequence[Any], options: dict[str, Any]) -> Any:
        path = path_of(self._inside)
        for name, value in options.items():
            if value is not None:
                reason = f"it is called with {name}="
                raise _check.not_in_onnx(type(layer).__name__, path, reason)
        y = super()._layer(layer, args, options)
        outputs = y if type(y) is tuple else (y,)
        self._add(type(layer).__name__, path, layer, args, outputs, {}, outputs[0].shape)
        return y

    def _operate(
        self, name: str, function: Callable[..., Result], operands: Sequence[Any], index: int
    ) -> Array:
        array = super()._operate(name, function, operands, index)
        options = function.keywords if isinstance(function, partial) else {}
        self._add(name, "", None, operands, (index,), options, array.shape)
        return array

    def _add(
        self,
        name: str,
        path: str,
        layer: Module | None,
        operands: Sequence[Any],
        outputs: Sequence[Any],
        options: Mapping[str, Any],
        shape: Shape,
    ) -> None:
        given = tuple(Numbered(o.index) if isinstance(o, Value) else o for o in operands)
        made = tuple(o.index if isinstance(o, Value) else o for o in outputs)
        shapes = (np.shape(self.array_of(operands[0])), shape)
        self.steps.append(Happening(name, path, layer, given, made, options, (shapes,)))


def forward_of(model: Module, input_shapes: Sequence[Shape]) -> Forward:
    """What happens in a model's forward pass.

    Parameters
    ----------
    model : Module
    input_shapes : sequence of tuple of int
        Of one sample of each input.

    Returns
    -------
    Forward

    Raises
    ------
    TypeError
        The forward reads numbers of its values.
    ValueError
        A shape does not fit, or what happens depends on the number of samples.

    Examples
    --------
    >>> from bn import nn
    >>> forward = forward_of(nn.Sequential(nn.Flatten(), nn.ReLU()), [(2, 3)])
    >>> [(step.name, step.shapes[0]) for step in forward.steps]
    [('reshape', ((2, 2, 3), (2, 6))), ('ReLU', ((2, 6), (2, 6)))]
    """
    one, other = (_listened(model, input_shapes, batch) for batch in BATCHES)
    if len(one.steps) != len(other.steps):
        raise _check.depends_on_batch("the number of its calls")
    both = zip(one.steps, other.steps, strict=True)
    steps = [_same(a, b) for a, b in both]
    return Forward(one.inputs, steps, one.result, (*one.shapes, *other.shapes))


def _listened(model: Module, input_shapes: Sequence[Shape], batch: int) -> Forward:
    record = Listening(model, batch)
    y = record.run(*(np.broadcast_to(np.float32(0), (batch, *shape)) for shape in input_shapes))
    return Forward(record.inputs, record.steps, record.result, (y.shape,))


def _same(a: Happening, b: Happening) -> Happening:
    """One call of both passes, with the shapes of both."""
    same = (a.name, a.path, a.outputs) == (b.name, b.path, b.outputs)
    alike = all(_alike(x, y) for x, y in zip(a.operands, b.operands, strict=True))
    if not same or not alike or a.layer is not b.layer:
        raise _check.depends_on_batch(a.path or a.name)
    if a.name != "reshape" and a.options != b.options:
        raise _check.depends_on_batch(a.name)
    return a._replace(shapes=(*a.shapes, *b.shapes))


def _alike(x: Any, y: Any) -> bool:
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        return x.shape == y.shape and np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
    return x is y or bool(x == y)
