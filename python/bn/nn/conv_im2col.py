"""Columns for convolution by matrix products, a block of images at a time, and the sums back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from bn import _check
from bn.module import Array

Pair = tuple[int, int]

# Output places in one block: enough for an efficient product, few enough to stay near the core.
BLOCK = 2048


class Window(NamedTuple):
    """How a kernel walks over an image, in (height, width) pairs; the padding is before, after."""

    kernel: Pair
    stride: Pair = (1, 1)
    before: Pair = (0, 0)
    after: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def output_size(self, layer: str, size: Pair) -> Pair:
        """The places the kernel takes on an image of `size`, or an error if it finds none."""
        out = tuple(
            (n + p + q - d * (k - 1) - 1) // s + 1
            for n, k, s, p, q, d in zip(size, *self, strict=True)
        )
        _check.output_size(layer, size, out)
        return out[0], out[1]


class Columns:
    """Work space for a block of images.

    `matrix` has one row for each weight and one column for each output place, so that a
    convolution is ``weight @ matrix``. With stride 1 the output rows keep the width of the padded
    image (`width`; the surplus is cut off later): each row of `matrix` is then one contiguous run
    of the image for each image, which copies several times faster.
    """

    def __init__(self, images: int, x: Array, window: Window, out: Pair) -> None:
        channels, size, dtype = x.shape[1], x.shape[2:], x.dtype
        h, w = (n + p + q for n, p, q in zip(size, window.before, window.after, strict=True))
        (sh, sw), (dh, dw) = window.stride, window.dilation
        self.width = w if window.stride == (1, 1) else out[1]
        # One row more than the padding: the surplus of the last output row reads into it.
        self._padded = np.zeros((channels, images, h + 1, w), dtype)
        top, left = window.before
        self._image = self._padded[:, :, top : top + size[0], left : left + size[1]]
        c, n, row, item = self._padded.strides
        self._taps = as_strided(
            self._padded,
            (channels, *window.kernel, images, out[0], self.width),
            (c, dh * row, dw * item, n, sh * row, sw * item),
        )
        self._columns: Array = np.empty(self._taps.shape, dtype)  # (C, kh, kw, b, Ho, width)

    def matrix(self, groups: int) -> Array:
        """The columns as (G, C/G * kh * kw, b * Ho * width)."""
        c, kh, kw, n, h, w = self._columns.shape
        return self._columns.reshape(groups, c // groups * kh * kw, n * h * w)

    def fill(self, x: Array) -> None:
        """Take in a block of images, (C, b or fewer, H, W)."""
        self._image[:, : x.shape[1]] = x
        np.copyto(self._columns, self._taps)

    def fold(self, dx: Array) -> None:
        """Add up what `matrix` now holds, place by place, into dx, (C, b or fewer, H, W)."""
        self._padded[...] = 0
        kh, kw = self._columns.shape[1:3]
        for i in range(kh):
            for j in range(kw):
                self._taps[:, i, j] += self._columns[:, i, j]
        dx[...] = self._image[:, : dx.shape[1]]
        self._padded[...] = (
            0  # the next block needs zeros in the padding, and where it has no image
        )


def block_size(images: int, places: int) -> int:
    """Images in one block, the blocks being as even as can be."""
    most = max(1, BLOCK // max(1, places))
    blocks = -(-images // most)
    return -(-images // blocks) if blocks else 1


def convolve(x: Array, weight: Array, bias: Array | None, window: Window, y: Array) -> None:
    """Fill y, (N, O, Ho, Wo), from x, (N, C, H, W), and weight, (G, O/G, C/G * kh * kw)."""
    groups, n, out = len(weight), len(x), y.shape[2:]
    step = block_size(n, out[0] * out[1])
    columns = Columns(step, x, window, (out[0], out[1]))
    product = np.empty((y.shape[1], step, out[0], columns.width), x.dtype)
    for i in range(0, n, step):
        columns.fill(x[i : i + step].transpose(1, 0, 2, 3))
        np.matmul(weight, columns.matrix(groups), out=_grouped(product, groups))
        block = y[i : i + step].transpose(1, 0, 2, 3)  # (O, b, Ho, Wo)
        values = product[:, : block.shape[1], :, : out[1]]
        if bias is None:
            block[...] = values
        else:
            np.add(values, bias[:, None, None, None], out=block)


def convolve_backward(x: Array, dy: Array, dx: Array, weight: Array, window: Window) -> Array:
    """Fill dx; return the gradient of the weight, (G, C/G * kh * kw, O/G)."""
    groups, n, (o, *out) = len(weight), len(x), dy.shape[1:]
    step = block_size(n, out[0] * out[1])
    columns = Columns(step, x, window, (out[0], out[1]))
    matrix = columns.matrix(groups)
    padded_dy = np.zeros((o, step, out[0], columns.width), x.dtype)  # the surplus stays zero
    dproduct = _grouped(padded_dy, groups)
    dweight = np.zeros((groups, matrix.shape[1], o // groups), x.dtype)
    for i in range(0, n, step):
        block = dy[i : i + step].transpose(1, 0, 2, 3)  # (O, b, Ho, Wo)
        padded_dy[:, : block.shape[1], :, : out[1]] = block
        columns.fill(x[i : i + step].transpose(1, 0, 2, 3))
        dweight += np.matmul(matrix, dproduct.transpose(0, 2, 1))
        # With one output a group the product is an outer one, which BLAS is slow at.
        multiply = np.multiply if groups == o else np.matmul
        multiply(weight.transpose(0, 2, 1), dproduct, out=matrix)
        columns.fold(dx[i : i + step].transpose(1, 0, 2, 3))
    return dweight


def _grouped(a: Array, groups: int) -> Array:
    return a.reshape(groups, a.shape[0] // groups, -1)  # (O, b, Ho, width) -> (G, O/G, places)
