"""Matrix products: NumPy's BLAS on the threads of the kernels.

BLAS has threads of its own. After a product they go on looking for work for some milliseconds, and
take a core from the kernels that follow: a training step on two cores then takes as long as on one.
So BLAS is called for blocks of the result, each on one thread, by the threads of the kernels. The
blocks follow from the shapes alone, so that any number of threads gives the same bits.
"""

from __future__ import annotations

import numpy as np

from bn._core import core
from bn.config import blas_on_one_thread
from bn.types import Array

BLOCKS = 8
# For fewer multiplications, BLAS uses one thread by itself: for a vector, and for a matrix. Sharing
# a product that is smaller than the second would cost more time than it saves.
VECTOR, MATRIX = 2**13, 2**18


def product(a: Array, b: Array) -> Array:
    """The matrix product of a and b.

    Parameters
    ----------
    a : ndarray, shape (M, K)
    b : ndarray, shape (K, N)
        Of the same dtype.

    Returns
    -------
    ndarray, shape (M, N)

    Examples
    --------
    >>> product(np.ones((2, 3)), np.ones((3, 1)))
    array([[3.],
           [3.]])
    """
    (m, k), n = a.shape, b.shape[1]
    out = core.empty((m, n), a.dtype)
    multiplications = m * k * n
    if multiplications <= VECTOR:
        return np.matmul(a, b, out=out)

    def columns(begin: int, end: int) -> None:
        np.matmul(a, b[:, begin:end], out=out[:, begin:end])

    def rows(begin: int, end: int) -> None:
        np.matmul(a[begin:end], b, out=out[begin:end])

    count, function = (n, columns) if n > m else (m, rows)
    with blas_on_one_thread():
        blocks = BLOCKS if multiplications > MATRIX else 1
        core.in_blocks(function, count, -(-count // blocks))
    return out
