"""Checks of `bn.dask`, which compute nothing."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import numpy as np

from bn._check.base import Array, data, per_channel
from bn._check.packages import missing_package


def dask_package(user: str) -> None:
    if importlib.util.find_spec("dask") is None:
        raise ImportError(missing_package(user, "dask", "'.[dask]' in a checkout of bn"))


def dask_array(array: Any, axis: object) -> int:
    """Check a dask array that is to be normalized; return its channel axis, from the front."""
    from dask.array import Array as DaskArray

    if not isinstance(array, DaskArray):
        got = type(array).__name__
        raise TypeError(f"array must be a dask array, got {got} (see dask.array.from_array)")
    if any(math.isnan(size) for size in array.shape):
        raise ValueError(
            f"array must have blocks of known sizes, got shape {array.shape} "
            "(see its compute_chunk_sizes)"
        )
    return data(_like(array), axis, "array")


def dask_vector(name: str, vector: Any, channels: int) -> None:
    """Check values of channels in a NumPy or a dask array."""
    from dask.array import Array as DaskArray

    per_channel(name, _like(vector) if isinstance(vector, DaskArray) else vector, channels)


def _like(array: Any) -> Array:
    """A NumPy array with the shape and the dtype of a dask array, and a single value in memory."""
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)
