"""Pooling: the maximum or the mean of each window of an image."""

from __future__ import annotations

import numpy as np

from bn import _check
from bn.module import Module
from bn.nn.window import Pair, Window
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
        name = type(self).__name__
        _check.image_shape(name, input_shape, self.axis)
        size = input_shape[1:] if self.axis == 1 else input_shape[:2]
        window = Window(self._kernel, self._stride, self._padding, self._padding)
        out = window.output_size(name, (size[0], size[1]))
        return (input_shape[0], *out) if self.axis == 1 else (*out, input_shape[2])

    def _combine(self, x: Array, ufunc: np.ufunc, initial: float) -> Array:
        """The sum or the maximum of each window: first along the height, then along the width."""
        out = self.output_shape(x.shape[1:])
        for k in (0, 1):
            axis = k + (2 if self.axis == 1 else 1)
            before = (slice(None),) * axis
            shape = (*x.shape[:axis], out[axis - 1], *x.shape[axis + 1 :])
            y: Array = np.full(shape, initial, x.dtype)
            for tap, part in self._ranges(k, x.shape[axis], out[axis - 1]):
                ufunc(y[(*before, part)], x[(*before, tap)], out=y[(*before, part)])
            x = y
        return x

    def _taps(self, x: Array, y: Array) -> list[tuple[Array, tuple[slice, ...]]]:
        """For each position in the kernel, row by row: a view of x, and the part of y it is for."""
        first = 2 if self.axis == 1 else 1  # the axis of the height
        ranges = [self._ranges(k, x.shape[first + k], y.shape[first + k]) for k in (0, 1)]
        all_before = (slice(None),) * first
        return [
            (x[(*all_before, row, column)], (*all_before, y_row, y_column))
            for row, y_row in ranges[0]
            for column, y_column in ranges[1]
        ]

    def _ranges(self, k: int, size: int, out: int) -> list[tuple[slice, slice]]:
        """For each position in the kernel along image axis k: the slices of x and of y."""
        kernel, stride, padding = self._kernel[k], self._stride[k], self._padding[k]
        ranges = []
        for tap in range(kernel):
            start = -((tap - padding) // stride) if tap < padding else 0
            stop = max(start, min(out, (size - 1 + padding - tap) // stride + 1))
            first = start * stride + tap - padding
            last = first + (stop - start) * stride
            ranges.append((slice(first, max(first, last - stride + 1), stride), slice(start, stop)))
        return ranges


def _first(hit: Array, free: Array) -> Array:
    """Return which hits are the first of their windows, and mark those windows as not free."""
    hit &= free
    free ^= hit
    return hit


class MaxPool2d(Pool2d):
    """The maximum of each window.

    Among equal values the first one, row by row, gets the gradient. The maximum of a window with
    NaN is NaN. The padding is never the maximum. Between forward and backward only x and y are
    kept.

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

    def forward(self, x: Array) -> Array:
        _check.images("x", x, self.axis)
        y = self._combine(x, np.maximum, -np.inf)
        self.keep(y, x, y)
        return y

    def backward(self, dy: Array) -> Array:
        x, y = self.take(dy)
        dx: Array = np.zeros_like(x)
        free = np.ones(y.shape, bool)  # whether the gradient of a window is still to be placed
        taps = list(zip(self._taps(x, y), self._taps(dx, y), strict=True))
        apart = all(k <= s for k, s in zip(self._kernel, self._stride, strict=True))
        for (view, part), (dview, _) in taps:
            hit = _first(view == y[part], free[part])
            if apart:  # no pixel is in two windows
                np.copyto(
                    dview, dy[part], where=hit
                )  # dy * hit would give NaN where dy is infinite
            else:
                np.add(dview, dy[part], out=dview, where=hit)
        if np.isnan(y).any():  # as in PyTorch, the last of several NaN gets the gradient
            for (view, part), (dview, _) in reversed(taps):
                hit = _first(np.isnan(view) & np.isnan(y[part]), free[part])
                np.add(dview, dy[part], out=dview, where=hit)
        return dx

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        text += ", dilation=1, ceil_mode=False"
        return text + f", axis={self.axis}" * (self.axis != 1)


class AvgPool2d(Pool2d):
    """The mean of each window.

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
        _check.images("x", x, self.axis)
        y = self._combine(x, np.add, 0)
        y *= self._weights(x, y)
        self.keep(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.take(dy)
        dx: Array = np.zeros_like(x)
        dy = dy * self._weights(x, dy)
        for dview, part in self._taps(dx, dy):
            np.add(dview, dy[part], out=dview)
        return dx

    def _weights(self, x: Array, y: Array) -> Array:
        """One divided by the number of pixels of each window."""
        if self.count_include_pad:
            return np.array(1 / (self._kernel[0] * self._kernel[1]), x.dtype)
        first = 2 if self.axis == 1 else 1
        counts = []
        for k in (0, 1):
            count = np.zeros(y.shape[first + k])
            for _, part in self._ranges(k, x.shape[first + k], y.shape[first + k]):
                count[part] += 1
            counts.append(count)
        weights = (1 / np.outer(*counts)).astype(x.dtype)  # (Ho, Wo)
        return weights if self.axis == 1 else weights[:, :, None]

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return text + f", axis={self.axis}" * (self.axis != 1)


class AdaptiveAvgPool2d(Module):
    """The mean of each whole image: (N, C, H, W) to (N, C, 1, 1).

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
        _check.output_not_empty("AdaptiveAvgPool2d", (size[0], size[1]), size)
        return (input_shape[0], 1, 1) if self.axis == 1 else (1, 1, input_shape[2])

    def forward(self, x: Array) -> Array:
        _check.images("x", x, self.axis)
        self.output_shape(x.shape[1:])
        y: Array = x.mean(axis=(2, 3) if self.axis == 1 else (1, 2), keepdims=True)
        self.keep(y, x.shape)
        return y

    def backward(self, dy: Array) -> Array:
        (shape,) = self.take(dy)
        count = shape[2] * shape[3] if self.axis == 1 else shape[1] * shape[2]
        return np.broadcast_to(dy / count, shape).copy()

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}" + f", axis={self.axis}" * (self.axis != 1)
