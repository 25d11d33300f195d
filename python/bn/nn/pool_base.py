"""`Pool`, `MaxPool` and `AvgPool`: what the poolings of images and of signals share."""

from __future__ import annotations

import numpy as np

from bn import _check
from bn._core import core
from bn.images import Layout
from bn.module import Module
from bn.nn.window import Pair, Window
from bn.types import Array, Shape


class Pool(Module):
    """The windows on the height and the width of images; signals are images of one row.

    Parameters
    ----------
    kernel, stride, padding : (int, int)
    ceil_mode : bool
    axis : {1, -1}

    Examples
    --------
    >>> from bn import nn
    >>> nn.MaxPool2d(2, ceil_mode=True).output_shape((3, 5, 6))
    (3, 3, 3)
    """

    def __init__(
        self, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool, axis: int
    ) -> None:
        _check.flag("ceil_mode", ceil_mode)
        self._kernel, self._stride, self._padding = kernel, stride, padding
        self.ceil_mode, self.axis = ceil_mode, axis

    def check(self, x: Array) -> None:
        """Raise an error if x does not fit."""
        raise NotImplementedError

    def as_images(self, x: Array) -> Array:
        """A view of inputs or outputs of the shape (N, C, H, W)."""
        raise NotImplementedError

    def as_given(self, images: Array) -> Array:
        """The view that `as_images` made a view of."""
        raise NotImplementedError

    def pooled_shape(self, images: Shape) -> Shape:
        """The shape (N, C, Ho, Wo) for images of the shape (N, C, H, W)."""
        return (*images[:2], *self.output_size((images[2], images[3])))

    def output_size(self, size: Pair) -> Pair:
        """The height and width of the output for images of `size`."""
        window = Window(self._kernel, self._stride, self._padding, self._after())
        out = self._size_of(window, size)
        if not self.ceil_mode:
            return out
        steps = zip(out, size, self._stride, self._padding, strict=True)
        height, width = (m - ((m - 1) * s >= n + p) for m, n, s, p in steps)
        return height, width

    def _size_of(self, window: Window, size: Pair) -> Pair:
        return window.output_size(type(self).__name__, size)

    def _after(self) -> Pair:
        """The padding below and to the right, in which the last window must end."""
        more = self._stride if self.ceil_mode else (1, 1)
        return self._padding[0] + more[0] - 1, self._padding[1] + more[1] - 1

    def steps(self) -> tuple[Pair, Pair, Pair]:
        """The kernel, the stride and the padding, along the height and the width."""
        return self._kernel, self._stride, self._padding

    def steps_on(self, size: Pair) -> tuple[Pair, Pair, Pair]:
        """`steps` for images of `size`; a pooling may choose them by it."""
        return self.steps()

    def padding_after(self, size: Pair) -> Pair:
        """The padding below and to the right of images of `size`, without that of `ceil_mode`."""
        return self._padding


class MaxPool(Pool):
    """The maximum of each window.

    Examples
    --------
    >>> from bn import nn
    >>> float(nn.MaxPool2d(2)(np.arange(4.0).reshape(1, 1, 2, 2))[0, 0, 0, 0])
    3.0
    """

    def forward(self, x: Array) -> Array:
        self.check(x)
        images = self.as_images(x)
        shape = self.pooled_shape(images.shape)
        y = core.empty(shape, x.dtype, images)
        steps = self.steps_on((images.shape[2], images.shape[3]))
        positions = core.empty(shape, self._position_dtype(images, steps[0]), images)
        core.pool_max(aligned(images), y, positions, *steps)
        y = self.as_given(y)
        self.keep(y, positions, Layout(images))
        return y

    def _position_dtype(self, images: Array, kernel: Pair) -> type[np.generic]:
        if kernel[0] * kernel[1] <= 256:
            return np.uint8  # which pixel of its window it is
        _check.pool_pixels(images.shape[2], images.shape[3])
        return np.int32  # which pixel of the image

    def backward(self, dy: Array) -> Array:
        positions, images = self.take(dy)
        dx = images.empty(dy.dtype)
        steps = self.steps_on((images.shape[2], images.shape[3]))
        core.pool_max_gradient(aligned(self.as_images(dy)), positions, dx, *steps)
        return self.as_given(dx)


class AvgPool(Pool):
    """The mean of each window.

    Parameters
    ----------
    kernel, stride, padding : (int, int)
    ceil_mode, count_include_pad : bool
    axis : {1, -1}

    Examples
    --------
    >>> from bn import nn
    >>> float(nn.AvgPool2d(2)(np.arange(4.0).reshape(1, 1, 2, 2))[0, 0, 0, 0])
    1.5
    """

    def __init__(
        self,
        kernel: Pair,
        stride: Pair,
        padding: Pair,
        ceil_mode: bool,
        count_include_pad: bool,
        axis: int,
    ) -> None:
        super().__init__(kernel, stride, padding, ceil_mode, axis)
        _check.flag("count_include_pad", count_include_pad)
        self.count_include_pad = count_include_pad

    def forward(self, x: Array) -> Array:
        self.check(x)
        images = self.as_images(x)
        y = core.empty(self.pooled_shape(images.shape), x.dtype, images)
        steps = self.steps_on((images.shape[2], images.shape[3]))
        core.pool_mean(aligned(images), y, *steps, self.count_include_pad)
        y = self.as_given(y)
        self.keep(y, Layout(images))
        return y

    def backward(self, dy: Array) -> Array:
        (images,) = self.take(dy)
        dx = images.empty(dy.dtype)
        dout = aligned(self.as_images(dy))
        steps = self.steps_on((images.shape[2], images.shape[3]))
        core.pool_mean_gradient(dout, dx, *steps, self.count_include_pad)
        return self.as_given(dx)


def aligned(images: Array) -> Array:
    """The images, or a copy that the kernels can read.

    Examples
    --------
    >>> x = np.ones((1, 1, 2, 2))
    >>> aligned(x) is x
    True
    """
    return np.require(images, requirements="A")
