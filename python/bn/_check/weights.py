"""Checks of masks, lengths and sample weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bn._check.base import Array, shape


def boolean(name: str, value: ArrayLike) -> Array:
    array = np.asarray(value)
    if array.dtype != bool:
        raise TypeError(f"{name} must be boolean, got {array.dtype}")
    return array


def positions(
    name: str, placed: tuple[int, ...], given: tuple[int, ...], x_shape: tuple[int, ...], axis: int
) -> None:
    """Check values of shape `given`, which have been placed among x's axes."""
    if not _broadcasts(placed, x_shape):
        without = x_shape[:axis] + x_shape[axis + 1 :]
        raise ValueError(
            f"{name} must have shape {without}, or {len(x_shape)} axes that broadcast to "
            f"{x_shape}, got {given}"
        )


def _broadcasts(shape: tuple[int, ...], x_shape: tuple[int, ...]) -> bool:
    """With as many axes as x, each of size 1 or x's."""
    return len(shape) == len(x_shape) and all(
        n in (1, m) for n, m in zip(shape, x_shape, strict=True)
    )


def sequence_axis(ndim: int, axis: int) -> int:
    """The first axis that is neither the batch's nor the channels'."""
    if ndim < 3:
        raise ValueError(f"lengths need x to have a sequence axis, got {ndim} axes")
    return 1 if axis != 1 else 2


def lengths(value: ArrayLike, x_shape: tuple[int, ...], axis: int) -> Array:
    array = np.asarray(value)
    longest = x_shape[sequence_axis(len(x_shape), axis)]
    if array.dtype.kind not in "iu":
        raise TypeError(f"lengths must be integers, got {array.dtype}")
    shape("lengths", array, (x_shape[0],))
    if array.size and not 0 <= array.min() <= array.max() <= longest:
        raise ValueError(
            f"lengths must be between 0 and {longest}, got {array.min()} to {array.max()}"
        )
    return array


def sample_weight(value: ArrayLike) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"sample_weight must hold numbers, got {array.dtype}")
    if array.size and not (np.isfinite(array).all() and array.min() >= 0):
        raise ValueError("sample_weight must be finite and at least 0, got less or NaN")
    return array.astype(np.float64)


def spreads(name: str, values: Array, x_shape: tuple[int, ...]) -> None:
    found = np.shape(values)
    if not isinstance(values, np.ndarray) or not _broadcasts(found, x_shape):
        raise ValueError(
            f"{name} must be an array of {len(x_shape)} axes that broadcasts to {x_shape}, "
            f"got shape {found}"
        )


def keras_mask(mask: ArrayLike, x_shape: tuple[int, ...]) -> None:
    found = np.shape(mask)
    if len(found) != len(x_shape) - 1:
        raise ValueError(
            "The mask provided should be one dimension less than the inputs. Received: "
            f"mask.shape={found}, inputs.shape={x_shape}"
        )
