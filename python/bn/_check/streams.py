"""Checks of `bn.stats_of`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np

from bn._check.arrays import is_foreign
from bn._check.base import Array, array, axis_of

Found = TypeVar("Found")


def is_one_array(value: object) -> bool:
    """Whether value can be read by slices: an ndarray, an HDF5 dataset, a zarr array."""
    return hasattr(value, "shape") and hasattr(value, "__getitem__")


def read_by_slices(shape: tuple[int, ...], axis: object) -> int:
    """Check an array that is not read yet; return its channel axis, counted from the front."""
    if len(shape) < 2:
        raise ValueError(f"data must have at least 2 axes, got shape {shape}")
    return axis_of(axis, len(shape))


def several_parts(value: object, chunk: object) -> None:
    if not isinstance(value, Iterable):
        raise TypeError(
            f"data must be an array or an iterable of arrays, got {type(value).__name__}"
        )
    if chunk is not None:
        raise ValueError(f"chunk must be None where data has its own parts, got {chunk!r}")


def part_of_data(value: Any) -> Array:
    """Check an item of data; return it as an array."""
    # NumPy would make one array of a tuple (x, y), and count the targets as values.
    if not isinstance(value, np.ndarray) and not is_foreign(value):
        raise TypeError(f"each part of data must be an array, got {type(value).__name__}")
    return array("each part of data", value)


def channels_of_parts(first: int, other: int) -> None:
    if first != other:
        raise ValueError(f"each part of data must have {first} channels as the first, got {other}")


def some_part(found: Found | None) -> Found:
    if found is None:
        raise ValueError(
            "data must have at least one part, got none (was the generator used up before?)"
        )
    return found
