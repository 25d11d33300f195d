"""Activation functions: elementwise ones, and `Softmax`."""

from __future__ import annotations

import numpy as np

from bn import _check
from bn.module import Elementwise, Module
from bn.types import Array, Shape


class ReLU(Elementwise):
    """The positive part, y = max(x, 0).

    Only y is kept for backward, which takes no extra memory where the next layer keeps its input.

    Examples
    --------
    >>> relu = ReLU()
    >>> relu(np.array([-1.0, 0.0, 2.0])), relu.backward(np.ones(3))
    (array([0., 0., 2.]), array([0., 0., 1.]))
    """

    def forward(self, x: Array) -> Array:
        _check.floating("x", x)
        y: Array = np.maximum(x, 0)
        self.keep(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        (y,) = self.take(dy)
        # Where y is NaN, the gradient passes, as in PyTorch.
        dx: Array = np.where(y <= 0, dy.dtype.type(0), dy)
        return dx


class LeakyReLU(Elementwise):
    """y = x where x > 0, otherwise negative_slope * x.

    Parameters
    ----------
    negative_slope : float
        The slope below 0; the default is PyTorch's.

    Raises
    ------
    ValueError
        The slope is not a finite number.

    Examples
    --------
    >>> LeakyReLU(0.5)(np.array([-1.0, 2.0]))
    array([-0.5,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        _check.finite("negative_slope", negative_slope)
        self.negative_slope = float(negative_slope)

    def forward(self, x: Array) -> Array:
        _check.floating("x", x)
        y = self._scaled(x, x)
        self.keep(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.take(dy)
        return self._scaled(dy, x)

    def _scaled(self, a: Array, x: Array) -> Array:
        slope = np.array([self.negative_slope, 1], x.dtype)
        out: Array = np.take(slope, (x > 0).view(np.uint8), mode="clip")
        out *= a
        return out

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Sigmoid(Elementwise):
    """y = 1 / (1 + exp(-x)).

    Examples
    --------
    >>> Sigmoid()(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """

    def forward(self, x: Array) -> Array:
        _check.floating("x", x)
        z = np.exp(-np.abs(x))  # the exponent is at most 0, so exp cannot overflow
        y: Array = np.where(x < 0, z, 1) / (1 + z)
        self.keep(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        (y,) = self.take(dy)
        dx: Array = dy * y * (1 - y)
        return dx


class Tanh(Elementwise):
    """y = tanh(x).

    Examples
    --------
    >>> Tanh()(np.array([0.0, 1000.0]))
    array([0., 1.])
    """

    def forward(self, x: Array) -> Array:
        _check.floating("x", x)
        y: Array = np.tanh(x)
        self.keep(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        (y,) = self.take(dy)
        dx: Array = dy * (1 - y * y)
        return dx


class Softmax(Module):
    r"""Probabilities along one axis, :math:`y_i = e^{x_i} / \sum_j e^{x_j}`.

    Parameters
    ----------
    axis : int
        The axis of the classes (PyTorch calls it `dim`).

    Raises
    ------
    TypeError
        `axis` is not an integer.

    Examples
    --------
    >>> Softmax()(np.array([[1000.0, 1000.0]]))
    array([[0.5, 0.5]])
    """

    def __init__(self, axis: int = -1) -> None:
        _check.integer("axis", axis)
        self.axis = axis

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.axis_of(self.axis, len(input_shape) + 1)
        return input_shape

    def forward(self, x: Array) -> Array:
        _check.floating("x", x)
        _check.axis_of(self.axis, x.ndim)
        with np.errstate(over="ignore"):  # where the difference overflows to -inf, exp gives 0
            y: Array = np.exp(x - x.max(axis=self.axis, keepdims=True, initial=-np.inf))
        y /= y.sum(axis=self.axis, keepdims=True)
        self.keep(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        (y,) = self.take(dy)
        dx: Array = y * (dy - (dy * y).sum(axis=self.axis, keepdims=True))
        return dx

    def extra_repr(self) -> str:
        return f"dim={self.axis}"
