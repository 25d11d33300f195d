"""Checks of `bn.fold`: of the arrays it gets, and of the layers it makes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bn._check.base import Array, axis_of, eps, floating, optional_per_channel, per_channel
from bn._check.nn import rank_at_least


def foldable(
    weight: Array,
    axis: object,
    needed: Mapping[str, object],
    optional: Mapping[str, object],
    epsilon: object,
) -> int:
    """Check a weight and the values of its output channels; return their axis from the front."""
    rank_at_least("weight", floating("weight", weight), 2)
    front = axis_of(axis, weight.ndim)
    channels = weight.shape[front]
    for name, values in needed.items():
        per_channel(name, values, channels)
    for name, values in optional.items():
        optional_per_channel(name, values, channels)
    eps(epsilon)
    return front


def representable(array: Array, dtype: np.dtype[np.floating]) -> bool:
    """Whether all numbers are finite, also after conversion to this dtype."""
    return bool((abs(array) <= np.finfo(dtype).max).all())  # NaN compares as False


def folded_fits(name: str, array: Array, dtype: np.dtype[np.floating]) -> None:
    if not representable(array, dtype):
        worst = array[~(abs(array) <= np.finfo(dtype).max)][0]
        raise ValueError(f"{name} must hold finite numbers that fit {dtype}, got {worst:g}")


def not_folded(user: str, count: int, reason: str) -> str:
    layers = "1 batch normalization was" if count == 1 else f"{count} batch normalizations were"
    names = "Folded.kept" if user == "fold" else "bn.fold(model, input_shape).kept"
    return f"{layers} kept by bn.{user}: {reason} ({names} names them)"
