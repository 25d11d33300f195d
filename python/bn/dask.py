"""Statistics and normalization of dask arrays, block by block.

It needs an extra, ``pip install '.[dask]'``, and imports dask when a function is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from bn import _check, functional
from bn.statistics import Stats
from bn.types import Array

if TYPE_CHECKING:
    from dask.array import Array as DaskArray
    from dask.delayed import Delayed

__all__ = ["normalize", "stats"]

# The shape of the tree decides the bits, and that of dask's reductions depends on dask's version.
MERGED_AT_ONCE = 16


@overload
def stats(array: DaskArray, axis: int = ..., *, compute: Literal[True] = ...) -> Stats: ...
@overload
def stats(array: DaskArray, axis: int = ..., *, compute: Literal[False]) -> Delayed: ...
def stats(array: DaskArray, axis: int = 1, *, compute: bool = True) -> Stats | Delayed:
    """Statistics of each channel of a dask array: `bn.stats` of each block, merged in a tree.

    Blocks may cut any axis, the channel axis too. The tree depends on the numbers of the blocks
    alone: the same blocks give the same bits, with every scheduler and in whatever order they are
    done. Other blocks of the same values give the same count, and mean and m2 to rounding.

    Parameters
    ----------
    array : dask array of float16, bfloat16, float32 or float64, at least 2 axes
        The sizes of its blocks must be known.
    axis : int, default 1
        The channel axis; all others are summed over.
    compute : bool, default True
        False returns a `dask.delayed.Delayed`, whose ``compute()`` gives the Stats. Its attributes
        are delayed too: `normalize` takes ``.mean`` and ``.var``.

    Returns
    -------
    Stats or Delayed
        As `bn.stats`: ``.count``, ``.mean`` and ``.m2``, of shape (C,).

    Raises
    ------
    ImportError
        dask is not installed.
    TypeError
        array is no dask array, or not of a supported floating dtype.
    ValueError
        array has fewer than 2 axes or blocks of unknown sizes, or axis is not one of its axes.

    Notes
    -----
    `bn.stats` uses all cores, and so do dask's threads. Where many workers share a machine,
    ``bn.set_num_threads(1)`` leaves the cores to them. Workers of ``dask.distributed`` that are
    processes begin with one thread (``OMP_NUM_THREADS=1``).

    References
    ----------
    Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979.

    Examples
    --------
    >>> import dask.array as da
    >>> x = da.from_array(np.array([[1.0, 10.0], [3.0, 10.0], [8.0, 10.0]]), chunks=(2, 1))
    >>> whole = stats(x)
    >>> whole.mean, whole.m2
    (array([ 4., 10.]), array([26.,  0.]))
    >>> stats(x, compute=False).mean.compute()
    array([ 4., 10.])
    """
    _check.dask_package("bn.dask.stats")
    _check.flag("compute", compute)
    axis = _check.dask_array(array, axis)
    from dask import delayed

    # The "values" of these blocks are Stats, so dask must not look at them as an array.
    blocks = array.map_blocks(functional.stats, axis=axis, dtype=float, meta=array)
    channels = np.moveaxis(blocks.to_delayed(), axis, 0)  # the numbers of the blocks, C first
    lazy = delayed(_joined)([_merged(list(parts.flat)) for parts in channels])
    return lazy.compute() if compute else lazy


def _merged(parts: list[Delayed]) -> Delayed:
    """Stats of the same channels, merged in a tree; neighbours are merged first."""
    from dask import delayed

    merge = delayed(functional.merge)
    while len(parts) > 1:
        starts = range(0, len(parts), MERGED_AT_ONCE)
        parts = [merge(parts[start : start + MERGED_AT_ONCE]) for start in starts]
    return parts[0]


def _joined(parts: list[Stats]) -> Stats:
    """Stats of adjoining channels as one."""
    columns = zip(*((part.count, part.mean, part.m2) for part in parts), strict=True)
    return Stats(*map(np.concatenate, columns))


def normalize(
    array: DaskArray,
    mean: Array | DaskArray | Delayed,
    var: Array | DaskArray | Delayed,
    weight: Array | DaskArray | Delayed | None = None,
    bias: Array | DaskArray | Delayed | None = None,
    eps: float = 1e-5,
    *,
    axis: int = 1,
) -> DaskArray:
    """``y = (x - mean) / sqrt(var + eps) · weight + bias``, by `bn.normalize` of each block.

    A block that has a part of the channels gets that part of mean, var, weight and bias.

    Parameters
    ----------
    array : dask array of float16, bfloat16, float32 or float64, at least 2 axes
        The sizes of its blocks must be known.
    mean, var : ndarray or dask array of float32 or float64, shape (C,), or Delayed
        For example ``.mean`` and ``.var`` of what `stats` returns.
    weight, bias : as mean, optional
        Scale and shift; None stands for 1 and 0.
    eps : float, default 1e-5
        Added to the variance; at least 0.
    axis : int, default 1
        The channel axis.

    Returns
    -------
    dask array
        With the shape, the dtype and the blocks of `array`; nothing is computed yet.

    Raises
    ------
    ImportError
        dask is not installed.
    TypeError, ValueError
        A dtype, a shape or eps is not as above. What is in a Delayed is checked when it is
        computed.

    Notes
    -----
    Compute the statistics first if the array does not fit in memory. Where they are still delayed,
    dask may keep all blocks until the statistics are known.

    References
    ----------
    Ioffe & Szegedy, "Batch Normalization", 2015, algorithm 1.

    Examples
    --------
    >>> import dask.array as da
    >>> x = da.from_array(np.array([[1.0], [3.0]]), chunks=1)
    >>> whole = stats(x)
    >>> normalize(x, whole.mean, whole.var, eps=0.0).compute()
    array([[-1.],
           [ 1.]])
    """
    _check.dask_package("bn.dask.normalize")
    axis = _check.dask_array(array, axis)
    _check.eps(eps)
    from dask.array import blockwise

    axes = range(array.ndim)
    arguments: list[Any] = []
    for name, vector in (("mean", mean), ("var", var), ("weight", weight), ("bias", bias)):
        if vector is None and name in ("weight", "bias"):
            arguments += [None, None]
        else:
            arguments += [_blocks_of(name, vector, array.chunks[axis]), (axis,)]
    return blockwise(
        functional.normalize, axes, array, axes, *arguments,
        eps=eps, axis=axis, dtype=array.dtype, meta=array,
    )  # fmt: skip


def _blocks_of(name: str, vector: Any, chunks: tuple[int, ...]) -> DaskArray:
    """Values of channels as a dask array that is cut where the channels are."""
    from dask import array as da
    from dask.delayed import Delayed

    channels = sum(chunks)
    if isinstance(vector, Delayed):
        return da.from_delayed(vector, (channels,), float).rechunk((chunks,))
    _check.dask_vector(name, vector, channels)
    return da.asarray(vector).rechunk((chunks,))
