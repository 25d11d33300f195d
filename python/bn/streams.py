"""`stats_of`: statistics of data that is read piece by piece."""

from __future__ import annotations

import math
from functools import partial
from operator import length_hint
from typing import Any

import numpy as np

from bn import _check
from bn.arrays import numpy_argument
from bn.functional import merge, stats
from bn.nn.training.display import counting
from bn.statistics import Stats

PIECE = 2**23  # values, which are 64 MB of float64, the widest dtype


def stats_of(
    data: Any, axis: int = 1, *, chunk: int | None = None, progress: bool = False
) -> Stats:
    """Statistics of each channel of data that need not fit in memory.

    The data is read once, piece by piece, and the `stats` of the pieces are merged in their order.
    One piece is in memory at a time. The same pieces give the same bits.

    Parameters
    ----------
    data : array_like with a shape, or iterable of arrays
        One array that is read by slices: an ndarray, a `numpy.memmap`, a dataset of h5py, an array
        of zarr. Or any iterable of arrays with the same number of channels, each of which is a
        piece. Integers are converted to float32, or to float64 if they have 32 bits or more, and
        numbers in swapped byte order to the native one, piece by piece.
    axis : int, default 1
        The channel axis of the array, or of each item; all others are summed over.
    chunk : int, optional
        How many samples of the array a piece has. By default these are as many as have at most
        2**23 values (64 MB of float64), but at least one, and whole chunks of the file if these
        are no larger. Samples are on axis 0, or on axis 1 if the channels are on axis 0.
    progress : bool, default False
        Show how many pieces are done: a bar in a terminal, some lines elsewhere.

    Returns
    -------
    Stats
        As of `stats`. Pieces without values count as nothing.

    Raises
    ------
    TypeError
        data is no array or iterable of arrays, or has not a supported dtype; or as `stats`.
    ValueError
        data is an iterable without items, or its items differ in their number of channels; chunk
        is given for an iterable; or as `stats`.

    References
    ----------
    Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979.

    Examples
    --------
    >>> images = np.array([[1], [3], [8]], np.uint8)
    >>> whole = stats_of(images, chunk=2)
    >>> whole.mean, whole.m2
    (array([4.]), array([26.]))
    >>> stats_of(np.full((size, 1), 5.0) for size in (3, 2)).count
    array([5.])
    """
    _check.optional_positive_int("chunk", chunk)
    _check.flag("progress", progress)
    if not _check.is_one_array(data):
        data = numpy_argument("data", data)  # it may be an array that cannot be sliced
    if _check.is_one_array(data):
        slices = slices_of(data, axis, chunk)
        parts, total = map(data.__getitem__, slices), len(slices)
    else:
        _check.several_parts(data, chunk)
        parts, total = data, length_hint(data)
    whole: Stats | None = None
    with counting(progress, "stats_of", total) as show:
        # A loop over the parts would hold one while the next is read.
        for done, piece in enumerate(map(partial(stats_of_part, axis=axis), parts), 1):
            if whole is not None:
                _check.channels_of_parts(whole.count.size, piece.count.size)
            whole = piece if whole is None else merge([whole, piece])
            show(done)
    return _check.some_part(whole)


def slices_of(data: Any, axis: int, chunk: int | None) -> list[tuple[slice, ...]]:
    """The slices that cut an array into pieces which have all channels."""
    shape = tuple(data.shape)
    samples = 0 if _check.read_by_slices(shape, axis) else 1
    step = chunk or piece_length(shape, samples, getattr(data, "chunks", None))
    starts = range(0, max(shape[samples], 1), step)  # one piece of an array without samples
    return [(slice(None),) * samples + (slice(start, start + step),) for start in starts]


def piece_length(shape: tuple[int, ...], samples: int, chunks: Any) -> int:
    """How many samples have about PIECE values; whole chunks of the file, if one fits.

    Examples
    --------
    >>> piece_length((10**6, 2**20), 0, None), piece_length((10**6, 2**20), 0, (3, 64))
    (8, 6)
    """
    sample = math.prod(shape[:samples] + shape[samples + 1 :])
    most = max(PIECE // max(sample, 1), 1)
    stored = int(np.max(chunks[samples])) if chunks else 1  # xarray has the sizes of all chunks
    return most - most % stored if stored < most else most


def stats_of_part(part: Any, axis: int) -> Stats:
    """`stats` of a piece, which may hold integers or numbers in swapped byte order."""
    x = _check.part_of_data(part)
    if x.dtype.kind in "iu":
        x = x.astype(np.result_type(x.dtype, np.float32))
    elif not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="))
    _check.data(x, axis, "each part of data")
    return stats(x, axis)
