"""A forward pass on shapes alone: what shape each layer gets and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bn import _check
from bn.recording.kept import Frame
from bn.recording.record import Record, path_of
from bn.recording.value import Value
from bn.types import Array, Shape

if TYPE_CHECKING:
    from bn.module import Module


@dataclass
class Visit:
    """One call of a layer or model inside a model, in the order of the calls.

    Attributes
    ----------
    path : str
        Its dotted path in the model.
    name : str
        Its name in the module that calls it: the last part of its path, or several.
    module : Module
    depth : int
        How many modules it is inside of, the model itself not counted.
    input_shape, output_shape : tuple of int
        Without the batch axis.
    """

    path: str
    name: str
    module: Module
    depth: int
    input_shape: Shape
    output_shape: Shape = ()


class Trace(Record):
    """A record in which layers only say what shape they give.

    What flows are arrays of one sample of zeros without memory of their own.
    """

    def __init__(self, model: Module) -> None:
        super().__init__(model, {})
        self.keeps = True  # within `no_grad` too: what a trace keeps are the calls
        self.fuses = False
        self.visits: list[Visit] = []

    def _forward(self, module: Module, args: Sequence[Any], options: dict[str, Any]) -> Value:
        visit = self._visit(module, args)
        y = super()._forward(module, args, options)
        visit.output_shape = y.shape[1:]
        return y

    def _layer(self, layer: Module, args: Sequence[Any], options: dict[str, Any]) -> Any:
        for a in args:
            self.array_of(a)  # a flattened value that waits is recorded now
        return super()._layer(layer, args, options)

    def _output(
        self, layer: Module, args: Sequence[Any], options: dict[str, Any], frame: Frame
    ) -> Any:
        visit = self._visit(layer, args)
        visit.output_shape = layer.output_shape(visit.input_shape)
        further = layer.further_shapes(args[0].shape)
        y = zeros(visit.output_shape)
        return (y, *(np.broadcast_to(np.float32(0), s) for s in further)) if further else y

    def _visit(self, module: Module, args: Sequence[Any]) -> Visit:
        shape, owners = tuple(args[0].shape[1:]), self._inside
        visit = Visit(path_of(owners), path_of(owners[-2:]), module, len(owners) - 2, shape)
        self.visits.append(visit)
        return visit


def zeros(shape: Shape) -> Array:
    """One sample of zeros that takes no memory."""
    return np.broadcast_to(np.float32(0), (1, *shape))


def trace(model: Module, input_shape: Shape) -> list[Visit]:
    """The calls in one forward pass of a model, itself first.

    Parameters
    ----------
    model : Module
        One without a backward pass of its own.
    input_shape : tuple of int
        The shape of one input, without the batch axis.

    Returns
    -------
    list of Visit

    Raises
    ------
    ValueError
        A layer does not fit the shape that it gets.
    """
    shape = _check.shape_tuple("input_shape", input_shape)
    record = Trace(model)
    record.run(zeros(shape))
    return record.visits


def output_shape(model: Module, input_shape: Shape) -> Shape:
    """The shape of a model's output without the batch axis."""
    return trace(model, input_shape)[0].output_shape
