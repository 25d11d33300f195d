"""Activation functions: elementwise ones, `Softmax` and `LogSoftmax`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bn import _check
from bn._core import core
from bn.module import Elementwise, Module
from bn.nn.blocks import elementwise, in_rows
from bn.recording.waiting import Activation
from bn.types import Array, Shape


class ReLU(Elementwise):
    """The positive part, y = max(x, 0).

    Only y is kept for backward, which takes no extra memory where the next layer keeps its input.

    Parameters
    ----------
    inplace : bool
        PyTorch's argument; it is taken and ignored.

    Examples
    --------
    >>> relu = ReLU()
    >>> relu(np.array([-1.0, 0.0, 2.0])), relu.backward(np.ones(3))
    (array([0., 0., 2.]), array([0., 0., 1.]))
    """

    fuses = True
    kept_names = ("the output",)

    def __init__(self, inplace: bool = False) -> None:
        _check.flag("inplace", inplace)

    def epilogue(self) -> Activation:
        return Activation("relu")

    def forward(self, x: Array) -> Array:
        _check.floating("x of ReLU", x)
        y = core.relu(x)
        self.keep(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        (y,) = self.take(dy)
        return core.relu_dx(dy, y)  # where y is NaN, the gradient passes, as in PyTorch


class ReLU6(Elementwise):
    """y = min(max(x, 0), 6).

    Only y is kept for backward. The gradient passes where x is between 0 and 6, and not at 0 or 6.
    Where x is NaN, y is NaN and the gradient passes.

    References
    ----------
    torch.nn.ReLU6. There the gradient at a NaN passes or not, depending on its place in memory.

    Examples
    --------
    >>> relu6 = ReLU6()
    >>> relu6(np.array([-1.0, 3.0, 6.0, 7.0])), relu6.backward(np.ones(4))
    (array([0., 3., 6., 6.]), array([0., 1., 0., 0.]))
    """

    fuses = True
    kept_names = ("the output",)

    def epilogue(self) -> Activation:
        return Activation("relu6")

    def forward(self, x: Array) -> Array:
        _check.floating("x of ReLU6", x)
        y = core.relu6(x)
        self.keep(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        (y,) = self.take(dy)
        return core.relu6_dx(dy, y)


class LeakyReLU(Elementwise):
    """y = x where x > 0, otherwise negative_slope * x.

    Parameters
    ----------
    negative_slope : float
        The slope below 0; the default is PyTorch's.
    inplace : bool
        PyTorch's argument; it is taken and ignored.

    Raises
    ------
    ValueError
        The slope is not a finite number.

    Examples
    --------
    >>> LeakyReLU(0.5)(np.array([-1.0, 2.0]))
    array([-0.5,  2. ])
    """

    fuses = True
    kept_names = ("x",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        _check.finite("negative_slope", negative_slope)
        _check.flag("inplace", inplace)
        self.negative_slope = float(negative_slope)

    def epilogue(self) -> Activation | None:
        return Activation("leaky_relu", self.negative_slope) if self.negative_slope > 0 else None

    def forward(self, x: Array) -> Array:
        _check.floating("x of LeakyReLU", x)
        y = core.leaky_relu(x, x, self.negative_slope)
        self.keep(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.take(dy)
        return core.leaky_relu(dy, x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Sigmoid(Elementwise):
    """y = 1 / (1 + exp(-x)).

    Examples
    --------
    >>> Sigmoid()(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """

    kept_names = ("the output",)

    def forward(self, x: Array) -> Array:
        _check.floating("x of Sigmoid", x)
        y = elementwise(_sigmoid, x)
        self.keep(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        (y,) = self.take(dy)
        return core.sigmoid_dx(dy, y)


def _sigmoid(x: Array, out: Array) -> None:
    z = np.abs(x, out=core.empty_like(x))
    np.exp(np.negative(z, out=z), out=z)  # the exponent is at most 0, so exp cannot overflow
    np.add(z, 1, out=out)
    # As z is at most 1, this is 1 where x >= 0, else z. np.where would mispredict branches.
    np.divide(np.maximum(z, x >= 0, out=z), out, out=out)


class Tanh(Elementwise):
    """y = tanh(x).

    Examples
    --------
    >>> Tanh()(np.array([0.0, 1000.0]))
    array([0., 1.])
    """

    kept_names = ("the output",)

    def forward(self, x: Array) -> Array:
        _check.floating("x of Tanh", x)
        y = elementwise(np.tanh, x)
        self.keep(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        (y,) = self.take(dy)
        return core.tanh_dx(dy, y)


class AlongAxis(Module):
    """An activation along the axis of the classes.

    Parameters
    ----------
    axis : int
        The axis of the classes (PyTorch calls it `dim`).
    """

    kept_names = ("the output",)

    def __init__(self, axis: int = -1) -> None:
        _check.integer("axis", axis)
        self.axis = axis

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.has_axis(type(self).__name__, self.axis, (None, *input_shape))
        return input_shape

    def in_blocks(self, block: Callable[[tuple[slice, ...]], None], x: Array) -> None:
        """Call `block` for parts of x, none of which divides the axis of the classes."""
        other = 0 if self.axis % x.ndim else 1
        if other < x.ndim:
            in_rows(block, x, other)
        else:
            block((slice(None),))

    def extra_repr(self) -> str:
        return f"dim={self.axis}"


class Softmax(AlongAxis):
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

    def forward(self, x: Array) -> Array:
        _check.floating("x of Softmax", x)
        axis = _check.has_axis("Softmax", self.axis, x.shape)
        y = core.empty_like(x)

        def block(part: tuple[slice, ...]) -> None:
            out = y[part]
            largest = x[part].max(axis=axis, keepdims=True, initial=-np.inf)
            with np.errstate(over="ignore"):  # where the difference overflows to -inf, exp gives 0
                np.exp(np.subtract(x[part], largest, out=out), out=out)
            out /= out.sum(axis=axis, keepdims=True)

        self.in_blocks(block, x)
        self.keep(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        (y,) = self.take(dy)
        dx = core.empty_like(y)

        def block(part: tuple[slice, ...]) -> None:
            product = np.multiply(dy[part], y[part], out=dx[part])
            total = product.sum(axis=self.axis, keepdims=True)
            np.multiply(y[part], np.subtract(dy[part], total, out=dx[part]), out=dx[part])

        self.in_blocks(block, y)
        return dx


class LogSoftmax(AlongAxis):
    r"""Logarithms of probabilities along one axis, :math:`y_i = x_i - \log \sum_j e^{x_j}`.

    Parameters
    ----------
    axis : int
        The axis of the classes (PyTorch calls it `dim`).

    Raises
    ------
    TypeError
        `axis` is not an integer.

    See Also
    --------
    CrossEntropyLoss : Takes the logits themselves, and needs no `LogSoftmax` before it.

    References
    ----------
    torch.nn.LogSoftmax.

    Examples
    --------
    >>> LogSoftmax()(np.array([[1000.0, 1000.0], [0.0, -1000.0]])).round(4)
    array([[-6.931e-01, -6.931e-01],
           [ 0.000e+00, -1.000e+03]])
    """

    def forward(self, x: Array) -> Array:
        _check.floating("x of LogSoftmax", x)
        axis = _check.has_axis("LogSoftmax", self.axis, x.shape)
        y = core.empty_like(x)

        def block(part: tuple[slice, ...]) -> None:
            out = y[part]
            largest = x[part].max(axis=axis, keepdims=True, initial=-np.inf)
            with np.errstate(over="ignore"):  # where the difference overflows to -inf, exp gives 0
                total = np.exp(np.subtract(x[part], largest, out=out)).sum(axis=axis, keepdims=True)
            out -= np.log(total, out=total)

        self.in_blocks(block, x)
        self.keep(y, y)
        return y

    def backward(self, dy: Array) -> Array:
        (y,) = self.take(dy)
        dx = core.empty_like(y)

        def block(part: tuple[slice, ...]) -> None:
            total = dy[part].sum(axis=self.axis, keepdims=True)
            product = np.multiply(np.exp(y[part], out=dx[part]), total, out=dx[part])
            np.subtract(dy[part], product, out=product)

        self.in_blocks(block, y)
        return dx
