"""Images that are taken worse than those of the training: noise, blur, contrast, shift."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bn.types import Array

LEVELS = (1, 2, 3)


def noise(x: Array, level: int, seed: int) -> Array:
    """Add normal noise of 0.5, 1 or 1.5 standard deviations of all pixels."""
    rng = np.random.default_rng(seed)
    return np.asarray(x + 0.5 * level * rng.standard_normal(x.shape), x.dtype)


def blur(x: Array, level: int, seed: int) -> Array:
    """Take the mean of 3 × 3 pixels once, twice or three times; the border repeats."""
    for _ in range(level):
        for axis in (-2, -1):
            width = [(0, 0)] * x.ndim
            width[axis] = (1, 1)
            padded = np.moveaxis(np.pad(x, width, mode="edge"), axis, 0)
            x = np.moveaxis((padded[:-2] + padded[1:-1] + padded[2:]) / 3, 0, axis)
    return np.ascontiguousarray(x)


def contrast(x: Array, level: int, seed: int) -> Array:
    """Bring all pixels to their image's mean, by 40, 60 or 80 %."""
    mean = x.mean(axis=(-2, -1), keepdims=True)
    return np.asarray(mean + (0.8 - 0.2 * level) * (x - mean), x.dtype)


def shift(x: Array, level: int, seed: int) -> Array:
    """Make all pixels lighter, by 0.5, 1 or 1.5 standard deviations."""
    return np.asarray(x + 0.5 * level, x.dtype)


CORRUPTIONS: dict[str, Callable[[Array, int, int], Array]] = {
    function.__name__: function for function in (noise, blur, contrast, shift)
}
