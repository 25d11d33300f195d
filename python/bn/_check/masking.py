"""Checks of masks, lengths and sample weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bn._check.base import Array, array, shape


def boolean(name: str, value: ArrayLike) -> Array:
    values = array(name, value)
    if values.dtype != bool:
        raise TypeError(f"{name} must be boolean, got {values.dtype}")
    return values


def positions(
    name: str, placed: tuple[int, ...], given: tuple[int, ...], x_shape: tuple[int, ...], axis: int
) -> None:
    """Check that values of shape `given` broadcast to x once they have its axes (`placed`)."""
    if not _broadcasts(placed, x_shape):
        without = x_shape[:axis] + x_shape[axis + 1 :]
        raise ValueError(
            f"{name} must have shape {without}, or {len(x_shape)} axes that broadcast to "
            f"{x_shape}, got {given}"
        )


def _broadcasts(shape: tuple[int, ...], x_shape: tuple[int, ...]) -> bool:
    """Whether a shape has as many axes as x, each of size 1 or of the size in x."""
    return len(shape) == len(x_shape) and all(
        n in (1, m) for n, m in zip(shape, x_shape, strict=True)
    )


def sequence_axis(ndim: int, axis: int) -> int:
    """Check that x has a sequence axis; return it: the first besides the batch and channel axes."""
    if ndim < 3:
        raise ValueError(f"lengths need x to have a sequence axis, got {ndim} axes")
    return 1 if axis != 1 else 2


def lengths(value: ArrayLike, x_shape: tuple[int, ...], axis: int) -> Array:
    values = array("lengths", value)
    longest = x_shape[sequence_axis(len(x_shape), axis)]
    if values.dtype.kind not in "iu":
        raise TypeError(f"lengths must be integers, got {values.dtype}")
    shape("lengths", values, (x_shape[0],))
    if values.size and not 0 <= values.min() <= values.max() <= longest:
        raise ValueError(
            f"lengths must be between 0 and {longest}, got {values.min()} to {values.max()}"
        )
    return values


def sample_weight(value: ArrayLike) -> Array:
    values = array("sample_weight", value)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"sample_weight must hold numbers, got {values.dtype}")
    if values.size and not (np.isfinite(values).all() and values.min() >= 0):
        raise ValueError("sample_weight must be finite and at least 0, got less, inf or NaN")
    return values.astype(np.float64)


def spreads(name: str, values: Array, x_shape: tuple[int, ...]) -> None:
    array(name, values)
    found = np.shape(values)
    if not isinstance(values, np.ndarray) or not _broadcasts(found, x_shape):
        raise ValueError(
            f"{name} must be an array of {len(x_shape)} axes that broadcasts to {x_shape}, "
            f"got shape {found}"
        )
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold numbers, got dtype {values.dtype}")
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(f"{name} must be finite and at least 0, got less, inf or NaN")


def keras_mask(mask: ArrayLike, x_shape: tuple[int, ...]) -> None:
    found = np.shape(mask)
    if len(found) != len(x_shape) - 1:
        raise ValueError(
            "The mask provided should be one dimension less than the inputs. Received: "
            f"mask.shape={found}, inputs.shape={x_shape}"
        )
