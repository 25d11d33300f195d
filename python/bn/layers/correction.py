"""A correction of normalized values, for frameworks and methods that do not stop at x̂."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bn.statistics import BackwardSums, trusted
from bn.types import Array, Doubles


@dataclass(frozen=True)
class Correction:
    """``y = (x̂·r + d)·weight + bias``; without a correction r is 1 and d is 0.

    Attributes
    ----------
    r, d : ndarray of float64, shape (C,)
        Scale and shift of the normalized values x̂.
    slope : ndarray of float64, shape (C,)
        What Σ dy·(x - mean) is multiplied by in dx, because r depends on x too; 1 where r is a
        constant.
    """

    r: Doubles
    d: Doubles
    slope: Doubles

    def affine(self, weight: Array | None, bias: Array | None) -> tuple[Array, Array]:
        """The weight' and bias' with ``x̂·weight' + bias' = (x̂·r + d)·weight + bias``."""
        scale = 1.0 if weight is None else weight
        return self.r * scale, self.d * scale + (0 if bias is None else bias)

    def dweight(self, dweight: Doubles, sums: BackwardSums) -> Doubles:
        """The gradient of weight, given what it would be without the correction."""
        return dweight * self.r + sums.dy * self.d

    def sums(self, sums: BackwardSums) -> BackwardSums:
        """The sums from which dx follows."""
        return trusted(BackwardSums, count=sums.count, dy=sums.dy, dy_xmu=sums.dy_xmu * self.slope)


def eps_outside_root(std: Doubles, var: Doubles, eps: float) -> Correction:
    """Turn ``(x - mean) / sqrt(var)`` into ``(x - mean) / (std + eps)``; std depends on x."""
    r = np.sqrt(var) / (std + eps)
    return Correction(r, np.zeros_like(r), std / (std + eps))
