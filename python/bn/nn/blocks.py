"""NumPy's functions on all cores: whole tensors in blocks.

The blocks follow from shapes and dtypes alone, so that any number of threads gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bn._core import core
from bn.types import Array

# Each of NumPy's functions takes Python's lock before and after its loop, and may wait for it. The
# loop must take much longer: with blocks of an eighth of this, a second thread gained nothing.
BLOCK_BYTES = 2**20


def elementwise(function: Callable[..., Any], x: Array, *others: Array) -> Array:
    """``function(x, *others, out=out)`` for blocks of values; out is like x.

    Parameters
    ----------
    function : callable
        It gets parts of the arrays as arrays with one axis, and fills `out`.
    x, *others : ndarray
        Of one shape and dtype.

    Returns
    -------
    ndarray
        out, in x's order in memory.

    Examples
    --------
    >>> import numpy as np
    >>> elementwise(np.hypot, np.array([3.0, 6.0]), np.array([4.0, 8.0]))
    array([ 5., 10.])
    """
    out = core.empty_like(x)
    inputs, result = core.runs(x, *others), out.ravel("K")

    def block(begin: int, end: int) -> None:
        function(*(run[begin:end] for run in inputs), out=result[begin:end])

    core.in_blocks(block, x.size, BLOCK_BYTES // x.itemsize)
    return out


def in_rows(function: Callable[[tuple[slice, ...]], None], x: Array, axis: int = 0) -> None:
    """``function(part)`` for blocks of rows; ``x[part]`` is a block of x.

    Parameters
    ----------
    function : callable
    x : ndarray
    axis : int
        Along which the rows lie one after the other, counted from the front.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.0, 2.0], [3.0, 5.0]])
    >>> sums = np.empty(2)
    >>> in_rows(lambda part: x[part].sum(axis=1, out=sums[part]), x)
    >>> sums
    array([3., 8.])
    """
    before = (slice(None),) * axis
    rows = max(1, BLOCK_BYTES * x.shape[axis] // max(1, x.nbytes))

    def block(begin: int, end: int) -> None:
        function((*before, slice(begin, end)))

    core.in_blocks(block, x.shape[axis], rows)
