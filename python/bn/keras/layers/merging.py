"""Layers of several inputs: sums, products, maxima, concatenation; and the same as functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from bn import _check, nn
from bn.keras.layers.base import Layer
from bn.keras.tensors import OpenShape
from bn.module import Module
from bn.types import Array, Shape


class Merge(Layer):
    """A layer of at least two inputs of one shape.

    Parameters
    ----------
    **options
        As in `Layer`.
    """

    least_inputs = 2

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def shape_for(self, shapes: Sequence[OpenShape]) -> OpenShape:
        _check.merged_alike(self.name, shapes)
        return shapes[0]

    def forward(self, *values: Any) -> Any:
        """The inputs merged, two at a time."""
        _check.merged_alike(self.name, [value.shape for value in values])
        merged = values[0]
        for value in values[1:]:
            merged = self.merged(merged, value)
        return merged

    def merged(self, a: Any, b: Any) -> Any:
        """Two inputs merged."""
        raise NotImplementedError(f"{type(self).__name__}.merged")


class Add(Merge):
    """The sum of the inputs.

    Parameters
    ----------
    **options
        As in `Layer`.

    Examples
    --------
    >>> Add()([np.array([[1.0]]), np.array([[2.0]])])
    array([[3.]], dtype=float32)
    """

    def merged(self, a: Any, b: Any) -> Any:
        return a + b


class Subtract(Merge):
    """The first of two inputs without the second.

    Parameters
    ----------
    **options
        As in `Layer`.

    Examples
    --------
    >>> Subtract()([np.array([[1.0]]), np.array([[2.0]])])
    array([[-1.]], dtype=float32)
    """

    def forward(self, *values: Any) -> Any:
        _check.keras_pair(self.name, len(values))
        return super().forward(*values)

    def merged(self, a: Any, b: Any) -> Any:
        return a - b


class Multiply(Merge):
    """The product of the inputs.

    Parameters
    ----------
    **options
        As in `Layer`.

    Examples
    --------
    >>> Multiply()([np.array([[3.0]]), np.array([[2.0]])])
    array([[6.]], dtype=float32)
    """

    def merged(self, a: Any, b: Any) -> Any:
        return a * b


class Average(Add):
    """The mean of the inputs.

    Parameters
    ----------
    **options
        As in `Layer`.

    Examples
    --------
    >>> Average()([np.array([[1.0]]), np.array([[2.0]])])
    array([[1.5]], dtype=float32)
    """

    def forward(self, *values: Any) -> Any:
        return super().forward(*values) / len(values)


class Extreme(Module):
    """The larger, or the smaller, of two values at each place; of two equal ones, both have half.

    Parameters
    ----------
    function : ufunc
        np.maximum or np.minimum.

    Examples
    --------
    >>> larger = Extreme(np.maximum)
    >>> larger(np.array([1.0, 2.0]), np.array([3.0, 2.0])), larger.backward(np.ones(2))
    (array([3., 2.]), (array([0. , 0.5]), array([1. , 0.5])))
    """

    def __init__(self, function: np.ufunc) -> None:
        self.function = function

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def forward(self, a: Array, b: Array) -> Array:
        y: Array = self.function(a, b)
        self.keep(y, a == y, b == y)
        return y

    def backward(self, dy: Array) -> tuple[Array, Array]:
        first, second = self.take(dy)
        share = dy / np.maximum(1, first.astype(dy.dtype) + second)
        return share * first, share * second


class Maximum(Merge):
    """The largest of the inputs at each place.

    Parameters
    ----------
    **options
        As in `Layer`.

    Examples
    --------
    >>> Maximum()([np.array([[1.0]]), np.array([[2.0]])])
    array([[2.]], dtype=float32)
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.extreme = Extreme(np.maximum)

    def merged(self, a: Any, b: Any) -> Any:
        return self.extreme(a, b)


class Minimum(Merge):
    """The smallest of the inputs at each place.

    Parameters
    ----------
    **options
        As in `Layer`.

    Examples
    --------
    >>> Minimum()([np.array([[1.0]]), np.array([[2.0]])])
    array([[1.]], dtype=float32)
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.extreme = Extreme(np.minimum)

    def merged(self, a: Any, b: Any) -> Any:
        return self.extreme(a, b)


class Concatenate(Layer):
    """The inputs one behind the other along an axis.

    Parameters
    ----------
    axis : int
        Not that of the batch.
    **options
        As in `Layer`.

    Raises
    ------
    ValueError
        The other axes of the inputs differ.

    Examples
    --------
    >>> Concatenate()([np.ones((1, 2)), np.zeros((1, 1))])
    array([[1., 1., 0.]], dtype=float32)
    """

    config_names: ClassVar[tuple[str, ...]] = ("axis",)
    least_inputs = 2

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = _check.integer("axis", axis)

    def shape_for(self, shapes: Sequence[OpenShape]) -> OpenShape:
        at = _check.keras_axis(self.name, self.axis, len(shapes[0]) + 1) - 1
        others = [(*shape[:at], *shape[at + 1 :]) for shape in shapes]
        _check.merged_alike(self.name, others)
        lengths = [shape[at] for shape in shapes]
        known = [length for length in lengths if length is not None]
        length = sum(known) if len(known) == len(lengths) else None
        return (*others[0][:at], length, *others[0][at:])

    def forward(self, *values: Any) -> Any:
        """The inputs joined."""
        axis = _check.keras_axis(self.name, self.axis, len(values[0].shape))
        return nn.concatenate(values, axis=axis)


def add(inputs: Sequence[Any], **options: Any) -> Any:
    """`Add` as a function.

    Parameters
    ----------
    inputs : list
    **options
        As in `Layer`.

    Returns
    -------
    ndarray or KerasTensor

    Examples
    --------
    >>> add([np.array([[1.0]]), np.array([[2.0]])])
    array([[3.]], dtype=float32)
    """
    return Add(**options)(inputs)


def subtract(inputs: Sequence[Any], **options: Any) -> Any:
    """`Subtract` as a function.

    Parameters
    ----------
    inputs : list
    **options
        As in `Layer`.

    Returns
    -------
    ndarray or KerasTensor

    Examples
    --------
    >>> subtract([np.array([[1.0]]), np.array([[2.0]])])
    array([[-1.]], dtype=float32)
    """
    return Subtract(**options)(inputs)


def multiply(inputs: Sequence[Any], **options: Any) -> Any:
    """`Multiply` as a function.

    Parameters
    ----------
    inputs : list
    **options
        As in `Layer`.

    Returns
    -------
    ndarray or KerasTensor

    Examples
    --------
    >>> multiply([np.array([[1.0]]), np.array([[2.0]])])
    array([[2.]], dtype=float32)
    """
    return Multiply(**options)(inputs)


def average(inputs: Sequence[Any], **options: Any) -> Any:
    """`Average` as a function.

    Parameters
    ----------
    inputs : list
    **options
        As in `Layer`.

    Returns
    -------
    ndarray or KerasTensor

    Examples
    --------
    >>> average([np.array([[1.0]]), np.array([[2.0]])])
    array([[1.5]], dtype=float32)
    """
    return Average(**options)(inputs)


def maximum(inputs: Sequence[Any], **options: Any) -> Any:
    """`Maximum` as a function.

    Parameters
    ----------
    inputs : list
    **options
        As in `Layer`.

    Returns
    -------
    ndarray or KerasTensor

    Examples
    --------
    >>> maximum([np.array([[1.0]]), np.array([[2.0]])])
    array([[2.]], dtype=float32)
    """
    return Maximum(**options)(inputs)


def minimum(inputs: Sequence[Any], **options: Any) -> Any:
    """`Minimum` as a function.

    Parameters
    ----------
    inputs : list
    **options
        As in `Layer`.

    Returns
    -------
    ndarray or KerasTensor

    Examples
    --------
    >>> minimum([np.array([[1.0]]), np.array([[2.0]])])
    array([[1.]], dtype=float32)
    """
    return Minimum(**options)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **options: Any) -> Any:
    """`Concatenate` as a function.

    Parameters
    ----------
    inputs : list
    axis : int
    **options
        As in `Layer`.

    Returns
    -------
    ndarray or KerasTensor

    Examples
    --------
    >>> concatenate([np.array([[1.0]]), np.array([[2.0]])])
    array([[1., 2.]], dtype=float32)
    """
    return Concatenate(axis, **options)(inputs)
