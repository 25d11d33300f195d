"""`AdaptiveAvgPool2d`: means over windows, as many as make images of one size."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bn import _check
from bn._core import core
from bn.images import Layout, as_given, channels_first
from bn.module import Module
from bn.nn.pool_base import aligned
from bn.nn.resampling import Taps, resample
from bn.nn.window import Pair
from bn.types import Array, Shape

Sizes = tuple[int | None, int | None]


class AdaptiveAvgPool2d(Module):
    """The means over windows, as many as make images of one size: (N, C, H, W) to (N, C, h, w).

    The i-th of h windows goes from row floor(i * H / h) to before row ceil((i + 1) * H / h), and
    likewise for the columns. They lie side by side where h divides H; elsewhere they overlap, or
    are repeated where h is larger than H.

    Nothing of x or y is kept between forward and backward but the shape and the order in memory.

    Parameters
    ----------
    output_size : int, None or pair of them
        The height and width of the result; None keeps that of x.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        `output_size` is something else.

    See Also
    --------
    AvgPool2d : Means over windows of a given size.

    References
    ----------
    torch.nn.AdaptiveAvgPool2d.

    Examples
    --------
    >>> AdaptiveAvgPool2d(1)(np.ones((2, 3, 4, 5))).shape
    (2, 3, 1, 1)
    >>> AdaptiveAvgPool2d((2, None))(np.arange(6.0).reshape(1, 1, 3, 2))
    array([[[[1., 2.],
             [3., 4.]]]])
    """

    def __init__(self, output_size: int | Sizes | None = 1, *, axis: int = 1) -> None:
        self._wanted = _check.adaptive_size(output_size)
        _check.channel_axis(axis)
        self.output_size, self.axis = output_size, axis

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.image_shape("AdaptiveAvgPool2d", input_shape, self.axis)
        size = input_shape[1:] if self.axis == 1 else input_shape[:2]
        out = self._output_size((size[0], size[1]))
        return (input_shape[0], *out) if self.axis == 1 else (*out, input_shape[2])

    def _output_size(self, size: Pair) -> Pair:
        _check.pixels_at_least("AdaptiveAvgPool2d", size, (1, 1))
        height, width = (n if m is None else m for n, m in zip(size, self._wanted, strict=True))
        return height, width

    def forward(self, x: Array) -> Array:
        _check.images("AdaptiveAvgPool2d", x, self.axis)
        images = channels_first(x, self.axis)
        size = (images.shape[2], images.shape[3])
        out = self._output_size(size)
        y = core.empty((*images.shape[:2], *out), x.dtype, images)
        if _side_by_side(size, out):
            core.pool_mean(aligned(images), y, *_windows(size, out), True)
        else:
            resample(images, y, means(size[0], out[0]), means(size[1], out[1]))
        y = as_given(y, self.axis)
        self.keep(y, Layout(images))
        return y

    def backward(self, dy: Array) -> Array:
        (images,) = self.take(dy)
        dx = images.empty(dy.dtype)
        dout = channels_first(dy, self.axis)
        size, out = (images.shape[2], images.shape[3]), (dout.shape[2], dout.shape[3])
        if _side_by_side(size, out):
            core.pool_mean_gradient(aligned(dout), dx, *_windows(size, out), True)
        else:
            taps = (means(n, m).transposed for n, m in zip(size, out, strict=True))
            resample(dout, dx, *taps)
        return as_given(dx, self.axis)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}" + f", axis={self.axis}" * (self.axis != 1)


def _side_by_side(size: Pair, out: Pair) -> bool:
    """Whether all windows have one size, and no pixel is in two of them."""
    return size[0] % out[0] == 0 and size[1] % out[1] == 0


def _windows(size: Pair, out: Pair) -> tuple[Pair, Pair, Pair]:
    """The kernel, stride and padding of windows that lie side by side."""
    kernel = (size[0] // out[0], size[1] // out[1])
    return kernel, kernel, (0, 0)


@lru_cache(256)
def means(inputs: int, outputs: int) -> Taps:
    """The taps of means over windows along one axis.

    Parameters
    ----------
    inputs, outputs : int

    Returns
    -------
    Taps

    Examples
    --------
    >>> means(5, 3).count
    array([2, 3, 2])
    """
    i = np.arange(outputs)
    first = i * inputs // outputs
    count = -(-(i + 1) * inputs // outputs) - first
    weights = np.broadcast_to(1 / count, (int(count.max()), outputs))
    return Taps(inputs, first, count, weights)
