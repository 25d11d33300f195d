"""Penalties on weights, for `BatchNormalization`'s gamma and beta."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bn import _check
from bn.types import Array


@dataclass(frozen=True)
class Regularizer:
    """``l1·Σ|w| + l2·Σw²``, as Keras's ``L1L2``.

    Parameters
    ----------
    l1, l2 : float, default 0
        At least 0.

    Examples
    --------
    >>> penalty = Regularizer(l2=0.5)
    >>> penalty(np.array([1.0, 2.0])), penalty.gradient(np.array([1.0, 2.0]))
    (2.5, array([1., 2.]))
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        _check.at_least("l1", self.l1, 0)
        _check.at_least("l2", self.l2, 0)

    def __call__(self, w: Array) -> float:
        return float(self.l1 * np.abs(w).sum() + self.l2 * np.square(w).sum())

    def gradient(self, w: Array) -> Array:
        """``l1·sign(w) + 2·l2·w``."""
        return np.asarray(self.l1 * np.sign(w) + 2 * self.l2 * w)


NAMED = {
    "l1": Regularizer(0.01),
    "L1": Regularizer(0.01),
    "l2": Regularizer(0, 0.01),
    "L2": Regularizer(0, 0.01),
    "l1_l2": Regularizer(0.01, 0.01),
}


def regularizer(name: str, value: str | Regularizer | None) -> Regularizer | None:
    """The regularizer of that name, or the one given."""
    if value is None or isinstance(value, Regularizer):
        return value
    _check.choice(name, value, tuple(NAMED))
    return NAMED[value]
