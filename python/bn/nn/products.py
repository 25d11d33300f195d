"""The matrix products of a linear layer: y = x Wᵀ, dx = dy W and dW = dyᵀ x.

With few outputs, as in a layer of classes, they are computed by the kernels of 1 × 1 convolutions,
the samples being the pixels of an image; else by NumPy's BLAS.

BLAS has threads of its own. After a product they go on looking for work for some milliseconds, and
take a core from the kernels that follow: a training step on two cores then takes as long as on one.
So BLAS is called for blocks of the result, each on one thread, by the threads of the kernels. The
blocks follow from the shapes alone, so that any number of threads gives the same bits. In other
threads than the main one, OpenBLAS may use several threads in spite of this.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bn._core import core
from bn.config import blas_on_one_thread
from bn.nn import conv_direct
from bn.nn.window import Window
from bn.types import Array

FEW = 64  # outputs; for more, the kernels spend too much time on rearranging the weight
ONE_PIXEL = Window((1, 1))
# For fewer multiplications, BLAS uses one thread by itself: for a vector, and for a matrix. Sharing
# a product that is smaller than the second would cost more time than it saves. In each block, BLAS
# arranges again what all blocks share: so there are few, of as many multiplications as the third.
VECTOR, MATRIX, BLOCK = 2**13, 2**18, 2**24


def outputs(x: Array, weight: Array, bias: Array | None) -> Array:
    """``x @ weight.T + bias``.

    Parameters
    ----------
    x : ndarray, shape (N, C)
    weight : ndarray, shape (O, C)
    bias : ndarray of shape (O,), or None
        All of one dtype.

    Returns
    -------
    ndarray, shape (N, O)

    Examples
    --------
    >>> outputs(np.ones((1, 2)), np.ones((3, 2)), np.array([0.0, 1.0, 2.0]))
    array([[2., 3., 4.]])
    """
    if not _by_kernels(weight):
        y = _product(x, weight.T)
        return y if bias is None else np.add(y, bias, out=y)
    y = core.empty((len(x), len(weight)), x.dtype)
    conv_direct.convolve(_image(x), _kernel(weight), bias, ONE_PIXEL, _image(y))
    return y


def prepared_outputs(weight: Array, bias: Array | None, rows: int) -> Callable[[Array], Array]:
    """`outputs` as a function of x alone, which has this many rows.

    Parameters
    ----------
    weight : ndarray, shape (O, C)
    bias : ndarray of shape (O,), or None
    rows : int

    Examples
    --------
    >>> prepared_outputs(np.ones((3, 2)), None, 1)(np.ones((1, 2)))
    array([[2., 2., 2.]])
    """
    if not (conv_direct.FAST and rows > 0 and weight.size > 0):
        return lambda x: outputs(x, weight, bias)
    x, y = (_image(np.empty((rows, n), weight.dtype)) for n in reversed(weight.shape))
    into = conv_direct.prepared(x, _kernel(weight), bias, ONE_PIXEL, y)
    x_pixels, y_pixels = (image.transpose(0, 2, 3, 1).shape for image in (x, y))
    shape, dtype = (rows, len(weight)), weight.dtype

    def product(x: Array) -> Array:
        y = core.empty(y_pixels, dtype)
        into(x.reshape(x_pixels).transpose(0, 3, 1, 2), y.transpose(0, 3, 1, 2))
        return y.reshape(shape)

    return product


def input_gradient(dy: Array, weight: Array) -> Array:
    """``dy @ weight``.

    Parameters
    ----------
    dy : ndarray, shape (N, O)
    weight : ndarray, shape (O, C)

    Returns
    -------
    ndarray, shape (N, C)

    Examples
    --------
    >>> input_gradient(np.ones((1, 2)), np.ones((2, 3)))
    array([[2., 2., 2.]])
    """
    if not _by_kernels(weight):
        return _product(dy, weight)
    dx = core.empty((len(dy), weight.shape[1]), dy.dtype)
    conv_direct.convolve_dx(_kernel(weight), ONE_PIXEL, _image(dy), _image(dx))
    return dx


def weight_gradient(dy: Array, x: Array) -> Array:
    """``dy.T @ x``, in any order in memory.

    Parameters
    ----------
    dy : ndarray, shape (N, O)
    x : ndarray, shape (N, C)

    Returns
    -------
    ndarray, shape (O, C)

    Examples
    --------
    >>> weight_gradient(np.ones((1, 2)), np.ones((1, 3)))
    array([[1., 1., 1.],
           [1., 1., 1.]])
    """
    if not _by_kernels(dy.T):
        return _product(dy.T, x)
    # dy and x change roles: the threads share the many inputs.
    shape = (x.shape[1], dy.shape[1], 1, 1)
    transposed = conv_direct.convolve_dweight(_image(dy), shape, ONE_PIXEL, _image(x), None)
    return transposed.reshape(shape[:2]).T


def _by_kernels(weight: Array) -> bool:
    return conv_direct.FAST and len(weight) <= FEW and weight.size > 0


def _image(a: Array) -> Array:
    """The rows of a, (N, C), as pixels of an image, (1, C, N / width, width); none if N is 0."""
    width = math.gcd(len(a), 8)
    images, height = min(1, len(a)), max(1, len(a) // width)
    return a.reshape(images, height, width, a.shape[1]).transpose(0, 3, 1, 2)


def _kernel(weight: Array) -> Array:
    return weight.reshape(*weight.shape, 1, 1)


def _product(a: Array, b: Array) -> Array:
    """The matrix product by BLAS."""
    m, n = len(a), b.shape[1]
    out = core.empty((m, n), a.dtype)
    multiplications = a.size * n
    if a.shape[1] == 1:  # an outer product, which BLAS computes slowly
        return np.multiply(a, b, out=out)
    if multiplications <= VECTOR:
        return np.matmul(a, b, out=out)

    def columns(begin: int, end: int) -> None:
        np.matmul(a, b[:, begin:end], out=out[:, begin:end])

    def rows(begin: int, end: int) -> None:
        np.matmul(a[begin:end], b, out=out[begin:end])

    count, function = (n, columns) if n > m else (m, rows)
    with blas_on_one_thread():
        blocks = 1 if multiplications <= MATRIX else max(2, min(8, multiplications // BLOCK))
        core.in_blocks(function, count, -(-count // blocks))
    return out
