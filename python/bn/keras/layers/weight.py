"""`Weight`: an array of a layer as Keras sees it, by Keras's name and in Keras's layout."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn.layers.regularizers import Regularizer
from bn.module import Module, copy_all
from bn.parameter import Parameter
from bn.types import Array, Shape

Arrays: TypeAlias = tuple[Array, ...]


class Layout:
    """How Keras's array and the one of `bn.nn` are made of each other; by itself, they are alike.

    Examples
    --------
    >>> Layout().to_keras(np.zeros((2, 3))).shape
    (2, 3)
    """

    def to_keras(self, *arrays: Array) -> Array:
        """The array in Keras's layout; a view where that is possible."""
        return arrays[0]

    def from_keras(self, array: Array) -> Arrays:
        """The arrays of `bn.nn` that an array in Keras's layout stands for."""
        return (array,)


class Permuted(Layout):
    """Keras's axes, given as those of `bn.nn`.

    Parameters
    ----------
    *axes : int

    Examples
    --------
    >>> Permuted(2, 3, 1, 0).to_keras(np.zeros((16, 3, 5, 7))).shape
    (5, 7, 3, 16)
    """

    def __init__(self, *axes: int) -> None:
        self.axes = axes
        self.back = tuple(int(i) for i in np.argsort(axes))

    def to_keras(self, *arrays: Array) -> Array:
        return arrays[0].transpose(self.axes)

    def from_keras(self, array: Array) -> Arrays:
        return (array.transpose(self.back),)


SAME, ROWS_AND_COLUMNS = Layout(), Permuted(1, 0)


class Weight:
    """A weight of a layer: what Keras calls a variable.

    Parameters
    ----------
    name : str
        Keras's name.
    owner : Module
        The layer of `bn.nn` that has it.
    attributes : tuple of str
        The attributes that hold it there, parameters or arrays.
    layout : Layout
    place : str
        Where Keras keeps it below the layer, such as ``"cell"``.
    regularizer : Regularizer, optional
        Its value is part of the loss.

    Attributes
    ----------
    shape : tuple of int
        In Keras's layout.
    trainable : bool
        Whether training changes it.

    Examples
    --------
    >>> from bn import nn
    >>> kernel = Weight("kernel", nn.Linear(3, 2), ("weight",), ROWS_AND_COLUMNS)
    >>> kernel.assign(np.ones((3, 2))); kernel.shape, kernel.numpy().sum()
    ((3, 2), np.float32(6.0))
    """

    def __init__(
        self,
        name: str,
        owner: Module,
        attributes: tuple[str, ...],
        layout: Layout = SAME,
        place: str = "",
        regularizer: Regularizer | None = None,
    ) -> None:
        self.name, self.owner, self.attributes = name, owner, attributes
        self.layout, self.place, self.regularizer = layout, place, regularizer

    def _values(self) -> list[Any]:
        return [getattr(self.owner, attribute) for attribute in self.attributes]

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters that hold it; none for a buffer."""
        return [value for value in self._values() if isinstance(value, Parameter)]

    @property
    def arrays(self) -> list[Array]:
        """The arrays that hold it."""
        return [v.data if isinstance(v, Parameter) else v for v in self._values()]

    @property
    def trainable(self) -> bool:
        found = self.parameters
        return bool(found) and all(parameter.trainable for parameter in found)

    @property
    def shape(self) -> Shape:
        return self.layout.to_keras(*self.arrays).shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.arrays[0].dtype

    @property
    def size(self) -> int:
        return sum(array.size for array in self.arrays)

    def numpy(self) -> Array:
        """A copy in Keras's layout."""
        return self.layout.to_keras(*self.arrays).copy(order="C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def assign(self, value: ArrayLike) -> None:
        """Copy an array in Keras's layout in.

        Raises
        ------
        TypeError, ValueError
            It has another shape, or does not hold numbers; nothing is changed.
        """
        copy_all(self.pairs(value))

    def pairs(self, value: ArrayLike) -> list[tuple[Array, Array]]:
        """(array of the layer, what is to be copied into it) for an array in Keras's layout."""
        array = _check.numeric(self.name, _check.state_array(self.name, value))
        _check.shape(self.name, array, self.shape)
        parts = self.layout.from_keras(array)
        return [
            (own, np.ascontiguousarray(part, own.dtype))
            for own, part in zip(self.arrays, parts, strict=True)
        ]

    def penalty(self) -> float:
        """What its regularizer adds to the loss."""
        if self.regularizer is None:
            return 0.0
        return sum(self.regularizer(array) for array in self.arrays)

    def add_penalty_gradient(self) -> None:
        """Add the gradient of the regularizer to that of the parameters."""
        if self.regularizer is not None:
            for parameter in self.parameters:
                parameter.accumulate(self.regularizer.gradient(parameter.data))

    def __repr__(self) -> str:
        return f"<Weight {self.name}, shape={self.shape}, dtype={self.dtype}>"
