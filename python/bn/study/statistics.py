"""Means over seeds, with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Estimate:
    """A mean of n values, and half of its 95 % interval.

    One value has an infinite interval. Without any value that is known the mean is NaN.

    Examples
    --------
    >>> str(Estimate(97.304, 0.21, 5)), str(Estimate(97.304, math.inf, 1))
    ('97.30 ± 0.21', '97.3')
    """

    mean: float
    half: float
    n: int

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low > 0

    @property
    def below_zero(self) -> bool:
        """Whether the whole interval is below 0."""
        return self.high < 0

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "–"
        if math.isinf(self.half):
            return f"{self.mean:.4g}".replace("-", "−")
        digits = _digits(self.half or abs(self.mean))
        return f"{self.mean:.{digits}f} ± {self.half:.{digits}f}".replace("-", "−")


def _digits(size: float) -> int:
    """Digits behind the point with which a number of this size has two that count; 4 at most."""
    return min(4, max(0, 1 - math.floor(math.log10(size)))) if size else 0


def estimate(values: ArrayLike) -> Estimate:
    """The mean, and its interval by Student's t distribution.

    Parameters
    ----------
    values : array_like, shape (n,)
        One for each seed. If one of them is NaN, so is the mean.

    Examples
    --------
    >>> print(estimate([1.0, 2.0, 3.0]))
    2.0 ± 2.5
    """
    from scipy.stats import t

    found = np.asarray(values, float)
    n = found.size
    mean = float(found.mean()) if n else math.nan
    if n < 2:
        return Estimate(mean, math.inf, n)
    half = float(t.ppf(0.975, n - 1) * found.std(ddof=1) / math.sqrt(n))
    return Estimate(mean, half, n)


def difference(values: ArrayLike, others: ArrayLike) -> Estimate:
    """How much larger `values` are than `others`, by pairs that have their seed in common.

    A seed's split of the data, weights and order of samples are the same for both, so that the
    pairs differ less than the values do.

    Examples
    --------
    >>> difference([97.0, 98.0], [96.0, 97.0])
    Estimate(mean=1.0, half=0.0, n=2)
    """
    return estimate(np.asarray(values, float) - np.asarray(others, float))


def times(logarithms: Estimate) -> str:
    """The factor that a mean of logarithms to base 10 stands for, with its 95 % interval.

    Examples
    --------
    >>> times(Estimate(1.0, 0.301, 5)), times(Estimate(-0.5, math.inf, 1))
    ('10 (5 to 20)', '0.32')
    """
    if math.isnan(logarithms.mean):
        return "–"
    if math.isinf(logarithms.half):
        return _power(logarithms.mean)
    return f"{_power(logarithms.mean)} ({_power(logarithms.low)} to {_power(logarithms.high)})"


def _power(exponent: float) -> str:
    """10 to this power, which is bounded because floats are, with two digits."""
    value = 10.0 ** min(max(exponent, -300.0), 300.0)
    return f"{value:.0f}" if 10 <= value < 1e4 else f"{value:.2g}"
