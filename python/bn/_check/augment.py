"""Checks of `bn.nn.augment`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bn._check.base import Array, array, is_integer
from bn._check.nn import numeric


def batch_generator(rng: object) -> None:
    """Check the generator of a call; a seed would give every batch the same random numbers."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy Generator, got {rng!r}")


def channel_constants(name: str, value: ArrayLike) -> Array:
    """Check one number, or one for each channel; return them in float64."""
    found = numeric(name, array(name, value)).astype(np.float64)
    if found.ndim > 1 or found.size == 0:
        raise ValueError(f"{name} must be a number or one for each channel, got {value!r}")
    if not np.isfinite(found).all():
        raise ValueError(f"{name} must be finite, got {value!r}")
    return found


def constants_for(name: str, found: Array, channels: int) -> Array:
    """Check that there is one constant, or one for each channel; return one for each."""
    if found.size not in (1, channels):
        raise ValueError(
            f"{name} must have one number or {channels}, one for each channel of x, "
            f"got {found.size}"
        )
    return np.broadcast_to(found, (channels,)).copy()


def deviations(name: str, value: ArrayLike) -> Array:
    found = channel_constants(name, value)
    if (found <= 0).any():
        raise ValueError(f"{name} must be above 0, got {value!r}")
    # Smaller or larger ones have no variance in float64.
    if (found < 1e-150).any() or (found > 1e150).any():
        raise ValueError(f"{name} must be between 1e-150 and 1e150, got {value!r}")
    return found


def target_for_mixing(y: Any, samples: int, num_classes: int | None) -> tuple[Array, bool]:
    """Check a classifier's targets; return them, and whether they are class indices."""
    found = array("y", y)
    if found.ndim not in (1, 2) or found.dtype.kind not in "iuf":
        raise TypeError(
            "y must be class indices (N,) or class probabilities (N, C), "
            f"got {found.dtype} of shape {found.shape}"
        )
    if len(found) != samples:
        raise ValueError(f"y must have {samples} targets, as x has images, got {len(found)}")
    if found.ndim == 2:
        return found, False
    if found.dtype.kind == "f":
        raise TypeError(f"y must hold integers where it has one axis, got {found.dtype}")
    if not is_integer(num_classes):
        raise ValueError("num_classes must be given where y holds class indices, got None")
    if ((found < 0) | (found >= num_classes)).any():
        wrong = found[(found < 0) | (found >= num_classes)][0]
        raise ValueError(f"y must be between 0 and {num_classes - 1}, got {wrong}")
    return found, True


def augmented(step: object, result: Any) -> tuple[Array, Any]:
    """Check what a step of a `Compose` returned."""
    if not isinstance(result, tuple) or len(result) != 2:
        got = type(result).__name__
        raise TypeError(f"{step!r} must return the tuple (x, y), got {got}")
    return result


def no_target_images(name: str, y: object) -> None:
    """Check that no target has pixels, which would have to move with those of its image."""
    shape = np.asarray(y).shape
    if len(shape) > 2:
        raise ValueError(
            f"{name} moves pixels of x and not of y, so y must have one axis or (N, classes), "
            f"got shape {shape}"
        )
