"""Convolution as matrix products over blocks of images.

The pixels under the kernel at one position become a column of a matrix.
`bn.nn.conv_strategy.Strategy` describes the arguments.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from bn.nn.window import Pair, Window
from bn.types import Array, Shape

# The number of output pixels in one block of images: enough for an efficient matrix product, few
# enough that the block stays in the processor's cache.
BLOCK = 2048


class Columns:
    """Work space for a block of images.

    `matrix` has one row for each weight and one column for each output pixel, so that a
    convolution is ``weight @ matrix``. With stride 1 the output rows are as wide as the padded
    image (`width`), and the surplus pixels are left out when the result is copied: each row of
    `matrix` is then one contiguous part of each image, which copies several times faster.
    """

    def __init__(self, images: int, x: Array, window: Window, out: Pair) -> None:
        channels, size, dtype = x.shape[1], x.shape[2:], x.dtype
        h, w = (n + p + q for n, p, q in zip(size, window.before, window.after, strict=True))
        (sh, sw), (dh, dw) = window.stride, window.dilation
        self.width = w if window.stride == (1, 1) else out[1]
        # One more row than the padding needs: the surplus pixels of the last output row read it.
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
        """Copy a block of images, (C, b or fewer, H, W), into `matrix`; missing ones are zeros."""
        self._image[:, : x.shape[1]] = x
        self._image[:, x.shape[1] :] = 0
        np.copyto(self._columns, self._taps)

    def fold(self, dx: Array) -> None:
        """Write to dx, (C, b or fewer, H, W), for each pixel the sum of its entries in `matrix`."""
        self._padded[...] = 0
        kh, kw = self._columns.shape[1:3]
        for i in range(kh):
            for j in range(kw):
                self._taps[:, i, j] += self._columns[:, i, j]
        dx[...] = self._image[:, : dx.shape[1]]


def convolve(x: Array, weight: Array, bias: Array | None, window: Window, y: Array) -> None:
    """Compute y."""
    matrix = _matrix(weight, x)
    groups, n, out = len(matrix), len(x), y.shape[2:]
    step = block_size(n, out[0] * out[1])
    columns = Columns(step, x, window, (out[0], out[1]))
    product = np.empty((y.shape[1], step, out[0], columns.width), x.dtype)
    for i in range(0, n, step):
        columns.fill(x[i : i + step].transpose(1, 0, 2, 3))
        np.matmul(matrix, columns.matrix(groups), out=_grouped(product, groups))
        block = y[i : i + step].transpose(1, 0, 2, 3)  # (O, b, Ho, Wo)
        values = product[:, : block.shape[1], :, : out[1]]
        if bias is None:
            block[...] = values
        else:
            np.add(values, bias[:, None, None, None], out=block)


def convolve_backward(
    x: Array, weight: Array, window: Window, dy: Array, dx: Array | None, dbias: Array | None
) -> Array:
    """Compute dx and dbias and return the gradient of the weight."""
    if dx is not None:
        convolve_dx(weight, window, dy, dx)
    return convolve_dweight(x, weight.shape, window, dy, dbias)


def convolve_dx(
    weight: Array, window: Window, dy: Array, dx: Array, bias: Array | None = None
) -> None:
    """Compute dx, plus a bias of its channels if there is one."""
    matrix = _matrix(weight, dx)
    groups, o = len(matrix), dy.shape[1]
    columns, padded_dy = _workspace(dx, window, dy)
    entries, dproduct = columns.matrix(groups), _grouped(padded_dy, groups)
    # With one output channel in a group this is an outer product, slow in BLAS.
    multiply = np.multiply if groups == o else np.matmul
    for part in _blocks(dy):
        _fill(padded_dy, dy[part])
        multiply(matrix.transpose(0, 2, 1), dproduct, out=entries)
        columns.fold(dx[part].transpose(1, 0, 2, 3))
    if bias is not None:
        dx += bias[:, None, None]


def convolve_dweight(
    x: Array, shape: Shape, window: Window, dy: Array, dbias: Array | None
) -> Array:
    """Compute dbias and return the gradient of the weight, which has this shape."""
    groups, o = x.shape[1] // shape[1], dy.shape[1]
    columns, padded_dy = _workspace(x, window, dy)
    entries, dproduct = columns.matrix(groups), _grouped(padded_dy, groups)
    dmatrix = np.zeros((groups, entries.shape[1], o // groups), x.dtype)
    for part in _blocks(dy):
        _fill(padded_dy, dy[part])
        columns.fill(x[part].transpose(1, 0, 2, 3))
        dmatrix += np.matmul(entries, dproduct.transpose(0, 2, 1))
    if dbias is not None:
        dy.sum(axis=(0, 2, 3), out=dbias)
    return dmatrix.transpose(0, 2, 1).reshape(shape)


def _workspace(x: Array, window: Window, dy: Array) -> tuple[Columns, Array]:
    """The columns for a block of images like x, and zeros (O, b, Ho, width) for its dy."""
    n, o, *out = dy.shape
    step = block_size(n, out[0] * out[1])
    columns = Columns(step, x, window, (out[0], out[1]))
    return columns, np.zeros((o, step, out[0], columns.width), x.dtype)


def _blocks(dy: Array) -> Iterator[slice]:
    step = block_size(len(dy), dy.shape[2] * dy.shape[3])
    return (slice(i, i + step) for i in range(0, len(dy), step))


def _fill(padded_dy: Array, block: Array) -> None:
    """Copy a block of dy to `padded_dy`; surplus pixels stay zero, missing images become zeros."""
    padded_dy[:, : len(block), :, : block.shape[3]] = block.transpose(1, 0, 2, 3)
    padded_dy[:, len(block) :] = 0


def _matrix(weight: Array, x: Array) -> Array:
    """The weight as (G, O/G, C/G * kh * kw)."""
    groups = x.shape[1] // weight.shape[1]
    return weight.reshape(groups, len(weight) // groups, -1)


def _grouped(a: Array, groups: int) -> Array:
    return a.reshape(groups, a.shape[0] // groups, -1)  # (O, b, Ho, width) -> (G, O/G, places)


def block_size(images: int, places: int) -> int:
    """The number of images in one block, such that all blocks are about equally large.

    Parameters
    ----------
    images : int
        The number of images in the batch.
    places : int
        The number of output pixels of one image.

    Returns
    -------
    int

    Examples
    --------
    >>> block_size(images=9, places=512)  # blocks of at most 4 images: 3, 3 and 3
    3
    """
    most = max(1, BLOCK // max(1, places))
    blocks = -(-images // most)
    return -(-images // blocks) if blocks else 1
