"""Convolution of channels-last images: rows instead of columns, the channels side by side."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from bn.module import Array
from bn.nn.conv_im2col import Window, block_size


class Rows:
    """Work space for a block of images: `matrix` has a row for each place, (b*Ho*Wo, kh*kw*C)."""

    def __init__(self, images: int, x: Array, window: Window, out: tuple[int, int]) -> None:
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
        """Take in a block of images, (b or fewer, H, W, C)."""
        self._image[: len(x)] = x
        np.copyto(self._rows, self._taps)

    def fold(self, dx: Array) -> None:
        """Add up what `matrix` now holds, place by place, into dx, (b or fewer, H, W, C)."""
        self._padded[...] = 0
        kh, kw = self._rows.shape[3], self._rows.shape[4]
        for i in range(kh):
            for j in range(kw):
                self._taps[:, :, :, i, j] += self._rows[:, :, :, i, j]
        dx[...] = self._image[: len(dx)]
        self._padded[...] = 0  # the next block needs zeros in the padding


def convolve(x: Array, weight: Array, bias: Array | None, window: Window, y: Array) -> None:
    """Fill y, (N, Ho, Wo, O), from x, (N, H, W, C), and weight, (kh * kw * C, O)."""
    step = block_size(len(x), y.shape[1] * y.shape[2])
    rows = Rows(step, x, window, (y.shape[1], y.shape[2]))
    for i in range(0, len(x), step):
        rows.fill(x[i : i + step])
        block = y[i : i + step].reshape(-1, y.shape[3])
        np.matmul(rows.matrix[: len(block)], weight, out=block)
        if bias is not None:
            block += bias


def convolve_backward(x: Array, weight: Array, window: Window, dy: Array, dx: Array) -> Array:
    """Fill dx; return the gradient of the weight, (kh * kw * C, O)."""
    step = block_size(len(x), dy.shape[1] * dy.shape[2])
    rows = Rows(step, x, window, (dy.shape[1], dy.shape[2]))
    dweight = np.zeros(weight.shape, x.dtype)
    for i in range(0, len(x), step):
        rows.fill(x[i : i + step])
        block = np.ascontiguousarray(dy[i : i + step]).reshape(-1, dy.shape[3])
        matrix = rows.matrix[: len(block)]
        dweight += matrix.T @ block
        np.matmul(block, weight.T, out=matrix)
        rows.fold(dx[i : i + step])
    return dweight
