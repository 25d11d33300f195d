"""Checks of optimizers, schedules and the clipping of gradients."""

from __future__ import annotations

from bn._check.base import is_number


def norm_type(value: object) -> None:
    if not is_number(value) or not value > 0:
        raise ValueError(f"norm_type must be a number above 0 or infinity, got {value!r}")


def max_norm(value: object) -> None:
    if not is_number(value) or not value >= 0:
        raise ValueError(f"max_norm must be a number of at least 0 or infinity, got {value!r}")
