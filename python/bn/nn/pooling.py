"""Pooling: the maximum or the mean of each window of an image."""

from __future__ import annotations

import numpy as np

from bn import _check
from bn._core import core
from bn.images import Layout, as_given, channels_first
from bn.module import Module
from bn.nn.window import Pair, Window
from bn.recording.waiting import MaxPooling
from bn.types import Array, Shape


class Pool2d(Module):
    """What `MaxPool2d` and `AvgPool2d` share: the windows on the height and the width.

    Parameters
    ----------
    kernel_size : int or pair of int
        Height and width of a window, in pixels.
    stride : int, pair of int or None
        Pixels from one window to the next; None for `kernel_size`.
    padding : int or pair of int
        Pixels on each side, at most half of the kernel.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        A size is out of range.

    Examples
    --------
    >>> Pool2d(kernel_size=3, stride=2, padding=1).output_shape((16, 8, 8))
    (16, 4, 4)
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        *,
        axis: int = 1,
    ) -> None:
        _check.channel_axis(axis)
        self._kernel = _check.pair("kernel_size", kernel_size, 1)
        self._stride = self._kernel if stride is None else _check.pair("stride", stride, 1)
        self._padding = _check.pair("padding", padding, 0)
        _check.pool_padding(self._padding, self._kernel)
        self.kernel_size, self.padding, self.axis = kernel_size, padding, axis
        self.stride = kernel_size if stride is None else stride

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.image_shape(type(self).__name__, input_shape, self.axis)
        size = input_shape[1:] if self.axis == 1 else input_shape[:2]
        out = self._output_size((size[0], size[1]))
        return (input_shape[0], *out) if self.axis == 1 else (*out, input_shape[2])

    def _output_size(self, size: Pair) -> Pair:
        window = Window(self._kernel, self._stride, self._padding, self._padding)
        return window.output_size(type(self).__name__, size)

    def _steps(self) -> tuple[Pair, Pair, Pair]:
        return self._kernel, self._stride, self._padding


def _aligned(images: Array) -> Array:
    return np.require(images, requirements="A")


class MaxPool2d(Pool2d):
    """The maximum of each window.

    Among equal values the first one, row by row, gets the gradient. The maximum of a window with
    NaN is NaN; the last NaN gets the gradient. The padding is never the maximum. Between forward
    and backward, neither x nor y is kept, but where each maximum is: in one byte, or in four for
    kernels of more than 256 pixels.

    Parameters
    ----------
    kernel_size : int or pair of int
        Height and width of a window, in pixels.
    stride : int, pair of int or None
        Pixels from one window to the next; None for `kernel_size`.
    padding : int or pair of int
        Pixels on each side, at most half of the kernel.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        A size is out of range.

    References
    ----------
    torch.nn.MaxPool2d.

    Examples
    --------
    >>> MaxPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """

    fuses = True

    def epilogue(self) -> MaxPooling:
        return MaxPooling(*self._steps(), self.axis % 4)

    def forward(self, x: Array) -> Array:
        _check.images("MaxPool2d", x, self.axis)
        x = channels_first(x, self.axis)
        shape = (*x.shape[:2], *self._output_size((x.shape[2], x.shape[3])))
        y = core.empty(shape, x.dtype, x)
        positions = core.empty(shape, self._position_dtype(x), x)
        core.pool_max(_aligned(x), y, positions, *self._steps())
        y = as_given(y, self.axis)
        self.keep(y, positions, Layout(x))
        return y

    def _position_dtype(self, x: Array) -> type[np.generic]:
        if self._kernel[0] * self._kernel[1] <= 256:
            return np.uint8  # which pixel of its window it is
        _check.pool_pixels(x.shape[2], x.shape[3])
        return np.int32  # which pixel of the image

    def backward(self, dy: Array) -> Array:
        positions, images = self.take(dy)
        dx = images.empty(dy.dtype)
        core.pool_max_gradient(
            _aligned(channels_first(dy, self.axis)), positions, dx, *self._steps()
        )
        return as_given(dx, self.axis)

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        text += ", dilation=1, ceil_mode=False"
        return text + f", axis={self.axis}" * (self.axis != 1)


class AvgPool2d(Pool2d):
    """The mean of each window.

    Nothing of x or y is kept between forward and backward but the shape and the order in memory.

    Parameters
    ----------
    kernel_size : int or pair of int
        Height and width of a window, in pixels.
    stride : int, pair of int or None
        Pixels from one window to the next; None for `kernel_size`.
    padding : int or pair of int
        Zeros on each side, at most half of the kernel.
    count_include_pad : bool
        Whether the mean of a window includes the zeros of the padding.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        A size is out of range.

    References
    ----------
    torch.nn.AvgPool2d.

    Examples
    --------
    >>> AvgPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        *,
        count_include_pad: bool = True,
        axis: int = 1,
    ) -> None:
        super().__init__(kernel_size, stride, padding, axis=axis)
        self.count_include_pad = count_include_pad

    def forward(self, x: Array) -> Array:
        _check.images("AvgPool2d", x, self.axis)
        x = channels_first(x, self.axis)
        y = core.empty((*x.shape[:2], *self._output_size((x.shape[2], x.shape[3]))), x.dtype, x)
        core.pool_mean(_aligned(x), y, *self._steps(), self.count_include_pad)
        y = as_given(y, self.axis)
        self.keep(y, Layout(x))
        return y

    def backward(self, dy: Array) -> Array:
        (images,) = self.take(dy)
        dx = images.empty(dy.dtype)
        dy = _aligned(channels_first(dy, self.axis))
        core.pool_mean_gradient(dy, dx, *self._steps(), self.count_include_pad)
        return as_given(dx, self.axis)

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return text + f", axis={self.axis}" * (self.axis != 1)


class AdaptiveAvgPool2d(Module):
    """The mean of each whole image: (N, C, H, W) to (N, C, 1, 1).

    Nothing of x or y is kept between forward and backward but the shape and the order in memory.

    Parameters
    ----------
    output_size : 1 or (1, 1)
        The height and width of the result; other sizes are not supported.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        `output_size` is something else.

    References
    ----------
    torch.nn.AdaptiveAvgPool2d.

    Examples
    --------
    >>> AdaptiveAvgPool2d(1)(np.ones((2, 3, 4, 5))).shape
    (2, 3, 1, 1)
    """

    def __init__(self, output_size: int | Pair = 1, *, axis: int = 1) -> None:
        _check.adaptive_size(output_size)
        _check.channel_axis(axis)
        self.output_size, self.axis = output_size, axis

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.image_shape("AdaptiveAvgPool2d", input_shape, self.axis)
        size = input_shape[1:] if self.axis == 1 else input_shape[:2]
        _check.pixels_at_least("AdaptiveAvgPool2d", (size[0], size[1]), (1, 1))
        return (input_shape[0], 1, 1) if self.axis == 1 else (1, 1, input_shape[2])

    def forward(self, x: Array) -> Array:
        _check.images("AdaptiveAvgPool2d", x, self.axis)
        self.output_shape(x.shape[1:])
        x = channels_first(x, self.axis)
        y = core.empty((*x.shape[:2], 1, 1), x.dtype, x)
        core.pool_mean(_aligned(x), y, *_whole(x.shape), True)
        y = as_given(y, self.axis)
        self.keep(y, Layout(x))
        return y

    def backward(self, dy: Array) -> Array:
        (images,) = self.take(dy)
        dx = images.empty(dy.dtype)
        dy = _aligned(channels_first(dy, self.axis))
        core.pool_mean_gradient(dy, dx, *_whole(images.shape), True)
        return as_given(dx, self.axis)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}" + f", axis={self.axis}" * (self.axis != 1)


def _whole(shape: Shape) -> tuple[Pair, Pair, Pair]:
    """The kernel, stride and padding of one window that is the whole image."""
    size = (shape[2], shape[3])
    return size, size, (0, 0)
