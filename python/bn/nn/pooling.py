"""Pooling: the largest or the mean value of each window."""

from __future__ import annotations

import numpy as np

from bn import _check
from bn.module import Array, Module, Shape
from bn.nn.conv_im2col import Pair
from bn.nn.windows import Pool2d


def _first(hit: Array, free: Array) -> Array:
    """The hits in windows that were still free, which they are no longer."""
    hit &= free
    free ^= hit
    return hit


class MaxPool2d(Pool2d):
    """The largest value of each window.

    Of equal values the first gets the gradient, row by row; NaN is the largest of all. The
    padding never wins. Between forward and backward only x and y are kept.

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
        _check.image("x", x, self.axis)
        y = self._combine(x, np.maximum, -np.inf)
        self.keep(y, x, y)
        return y

    def backward(self, dy: Array) -> Array:
        x, y = self.take(dy)
        dx: Array = np.zeros_like(x)
        free = np.ones(y.shape, bool)  # windows whose gradient has found no place yet
        taps = list(zip(self._taps(x, y), self._taps(dx, y), strict=True))
        apart = all(k <= s for k, s in zip(self._kernel, self._stride, strict=True))
        for (view, part), (dview, _) in taps:
            hit = _first(view == y[part], free[part])
            if apart:  # each pixel is in one window at most
                np.copyto(dview, dy[part], where=hit)  # not dy * hit: infinity times 0 is NaN
            else:
                np.add(dview, dy[part], out=dview, where=hit)
        if np.isnan(y).any():  # of several NaN the last is PyTorch's maximum
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
        Whether the zeros of the padding count as members of the mean.
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
        _check.image("x", x, self.axis)
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
        """One divided by the number of members of each window."""
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
        The size of the result; there is no other.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        Another output size is asked for.

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
        _check.output_size("AdaptiveAvgPool2d", (size[0], size[1]), size)
        return (input_shape[0], 1, 1) if self.axis == 1 else (1, 1, input_shape[2])

    def forward(self, x: Array) -> Array:
        _check.image("x", x, self.axis)
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
