"""Convolution of images with their channels last, as matrix products over blocks of images.

The pixels under the kernel at one position become a row of a matrix. The channels of a pixel stay
side by side, as they are in memory, so the copies are fast. The weight must have one group, and
y must be contiguous once its channels are last; `bn.nn.conv_strategy.Strategy` describes the
arguments.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from bn.nn.conv_strategy import block_size
from bn.nn.window import Pair, Window
from bn.types import Array


class Rows:
    """Work space for a block of images.

    `matrix` has one row for each output pixel, (b * Ho * Wo, kh * kw * C), so that a convolution
    is ``matrix @ weight``.
    """

    def __init__(self, images: int, x: Array, window: Window, out: Pair) -> None:
        size, c = x.shape[1:3], x.shape[3]
        h, w = (n + p + q for n, p, q in zip(size, window.before, window.after, strict=True))
        (sh, sw), (dh, dw) = window.stride, window.dilation
        self._padded = np.zeros((images, h, w, c), x.dtype)
        top, left = window.before
        self._image = self._padded[:, top : top + size[0], left : left + size[1]]
        n, row, pixel, item = self._padded.strides
        self._taps = as_strided(
            self._padded,
            (images, *out, *window.kernel, c),
            (n, sh * row, sw * pixel, dh * row, dw * pixel, item),
        )
        self._rows: Array = np.empty(self._taps.shape, x.dtype)  # (b, Ho, Wo, kh, kw, C)
        self.matrix = self._rows.reshape(images * out[0] * out[1], -1)

    def fill(self, x: Array) -> None:
        """Copy a block of images, (b or fewer, H, W, C), into `matrix`."""
        self._image[: len(x)] = x
        np.copyto(self._rows, self._taps)

    def fold(self, dx: Array) -> None:
        """Write to dx, (b or fewer, H, W, C), for each pixel the sum of its entries in `matrix`."""
        self._padded[...] = 0
        kh, kw = self._rows.shape[3], self._rows.shape[4]
        for i in range(kh):
            for j in range(kw):
                self._taps[:, :, :, i, j] += self._rows[:, :, :, i, j]
        dx[...] = self._image[: len(dx)]
        self._padded[...] = 0  # the next block needs zeros in the padding


def convolve(x: Array, weight: Array, bias: Array | None, window: Window, y: Array) -> None:
    """Compute y."""
    x, y, matrix = _channels_last(x), _channels_last(y), _matrix(weight)
    step = block_size(len(x), y.shape[1] * y.shape[2])
    rows = Rows(step, x, window, (y.shape[1], y.shape[2]))
    for i in range(0, len(x), step):
        rows.fill(x[i : i + step])
        block = y[i : i + step].reshape(-1, y.shape[3])
        np.matmul(rows.matrix[: len(block)], matrix, out=block)
        if bias is not None:
            block += bias


def convolve_backward(x: Array, weight: Array, window: Window, dy: Array, dx: Array) -> Array:
    """Compute dx and return the gradient of the weight."""
    x, dy, dx, matrix = _channels_last(x), _channels_last(dy), _channels_last(dx), _matrix(weight)
    step = block_size(len(x), dy.shape[1] * dy.shape[2])
    rows = Rows(step, x, window, (dy.shape[1], dy.shape[2]))
    dmatrix = np.zeros(matrix.shape, x.dtype)
    for i in range(0, len(x), step):
        rows.fill(x[i : i + step])
        block = np.ascontiguousarray(dy[i : i + step]).reshape(-1, dy.shape[3])
        rows_of_block = rows.matrix[: len(block)]
        dmatrix += rows_of_block.T @ block
        np.matmul(block, matrix.T, out=rows_of_block)
        rows.fold(dx[i : i + step])
    outputs, inputs, kh, kw = weight.shape
    return dmatrix.T.reshape(outputs, kh, kw, inputs).transpose(0, 3, 1, 2)


def _channels_last(images: Array) -> Array:
    return images.transpose(0, 2, 3, 1)


def _matrix(weight: Array) -> Array:
    """The weight as (kh * kw * C, O)."""
    return weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))
