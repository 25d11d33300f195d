"""`Resampling`: images of another size, whose pixels are weighted sums of adjoining pixels."""

from __future__ import annotations

from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from bn import _check
from bn._core import core
from bn.images import Layout, as_given, channels_first
from bn.module import Module
from bn.nn.pool_base import aligned
from bn.nn.window import Pair
from bn.types import Array, Shape

# The first input of each output, their number, the weights; whether outputs are inputs themselves,
# and the outputs that are inputs side by side.
Arguments: TypeAlias = tuple[Array, Array, Array, bool, int, int]


class Taps:
    """How the pixels along one axis are computed: each is a weighted sum of adjoining ones.

    Parameters
    ----------
    inputs : int
        The number of pixels that they are computed from.
    first : ndarray of intp, shape (outputs,)
        For each output the first of the inputs in its sum; it does not decrease.
    count : ndarray of intp, shape (outputs,)
        The number of them; their last one does not decrease either.
    weights : ndarray of float64, shape (most, outputs)
        ``weights[k, j]`` is the weight of input ``first[j] + k`` in output j.

    Examples
    --------
    >>> halves = Taps(3, np.array([0, 1]), np.array([2, 2]), np.full((2, 2), 0.5))
    >>> halves.outputs, halves.transposed.count
    (2, array([1, 2, 1]))
    """

    def __init__(self, inputs: int, first: Array, count: Array, weights: Array) -> None:
        self.inputs, self.outputs = inputs, len(first)
        self._first, self._weights = first.astype(np.intp), weights
        self.count = count.astype(np.intp)
        self._arguments: dict[np.dtype[Any], Arguments] = {}

    def arguments(self, dtype: np.dtype[Any]) -> Arguments:
        """What the kernels take, for images of this dtype."""
        if dtype not in self._arguments:
            copies = bool((self.count <= 1).all() and (self._weights == 1).all())
            weights = np.ascontiguousarray(self._weights, dtype)
            run = self._run() if copies else (0, 0)
            self._arguments[dtype] = self._first, self.count, weights, copies, *run
        return self._arguments[dtype]

    def _run(self) -> tuple[int, int]:
        """The outputs with an input, if they are side by side, and their inputs too."""
        (used,) = np.nonzero(self.count)
        if not used.size:
            return 0, 0
        begin, end = int(used[0]), int(used[-1]) + 1
        side_by_side = (np.diff(self._first[used]) == 1).all() and end - begin == used.size
        return (begin, end) if side_by_side else (0, 0)

    @cached_property
    def transposed(self) -> Taps:
        """How the gradients of the inputs are computed from those of the outputs."""
        number = np.arange(len(self._weights))[:, None]
        k, j = np.nonzero(number < self.count)
        i = self._first[j] + k
        order = np.lexsort((j, i))
        i, j, weights = i[order], j[order], self._weights[k, j][order]
        count = np.bincount(i, minlength=self.inputs)
        start = np.cumsum(count) - count
        turned = np.ones((max(1, int(count.max(initial=0))), self.inputs))
        turned[np.arange(len(i)) - start[i], i] = weights
        first = np.zeros(self.inputs, np.intp)
        first[count > 0] = j[start[count > 0]]
        return Taps(self.outputs, first, count, turned)


def resample(images: Array, y: Array, rows: Taps, columns: Taps) -> None:
    """Compute y, images (N, C, Ho, Wo), from images (N, C, H, W) of the same dtype.

    Parameters
    ----------
    images, y : ndarray
    rows, columns : Taps

    Examples
    --------
    >>> halves = Taps(2, np.array([0]), np.array([2]), np.full((2, 1), 0.5))
    >>> y = np.empty((1, 1, 1, 1))
    >>> resample(np.arange(4.0).reshape(1, 1, 2, 2), y, halves, halves)
    >>> float(y[0, 0, 0, 0])
    1.5
    """
    # Where the channels lie in another order in x than in y, every value would be read by itself.
    like_y = core.in_order_of(images, core.empty(images.shape, images.dtype, y))
    dtype = images.dtype
    core.resample(aligned(like_y), y, rows.arguments(dtype), columns.arguments(dtype))


class Resampling(Module):
    """What `Upsample` and `ZeroPad2d` share: a height and a width, each with its taps.

    Nothing of x or y is kept between forward and backward but the shape and the order in memory.

    Parameters
    ----------
    axis : {1, -1}

    Examples
    --------
    >>> from bn import nn
    >>> nn.ZeroPad2d(1)(np.ones((1, 1, 1, 1)))
    array([[[[0., 0., 0.],
             [0., 1., 0.],
             [0., 0., 0.]]]])
    """

    def __init__(self, axis: int) -> None:
        _check.channel_axis(axis)
        self.axis = axis

    def output_size(self, size: Pair) -> Pair:
        """The height and width for images of this height and width."""
        raise NotImplementedError

    def taps(self, size: Pair) -> tuple[Taps, Taps]:
        """How the rows and the columns are computed, for images of this height and width."""
        raise NotImplementedError

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.image_shape(type(self).__name__, input_shape, self.axis)
        size = input_shape[1:] if self.axis == 1 else input_shape[:2]
        out = self.output_size((size[0], size[1]))
        return (input_shape[0], *out) if self.axis == 1 else (*out, input_shape[2])

    def forward(self, x: Array) -> Array:
        _check.images(type(self).__name__, x, self.axis)
        images = channels_first(x, self.axis)
        size = (images.shape[2], images.shape[3])
        y = core.empty((*images.shape[:2], *self.output_size(size)), x.dtype, images)
        resample(images, y, *self.taps(size))
        y = as_given(y, self.axis)
        self.keep(y, Layout(images))
        return y

    def backward(self, dy: Array) -> Array:
        (images,) = self.take(dy)
        dx = images.empty(dy.dtype)
        rows, columns = self.taps((images.shape[2], images.shape[3]))
        resample(channels_first(dy, self.axis), dx, rows.transposed, columns.transposed)
        return as_given(dx, self.axis)
