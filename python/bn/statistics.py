"""What `bn.stats` and `bn.backward_reduce` return: values that merge and are committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy import float64

from bn import _check
from bn._core import core
from bn.markup import stats_html
from bn.types import Array, Doubles

Made = TypeVar("Made")


def trusted(kind: type[Made], **vectors: Doubles) -> Made:
    """A Stats or BackwardSums of what the core returned, which needs no check."""
    value = object.__new__(kind)
    object.__setattr__(value, "__dict__", vectors)  # it is frozen
    return value


@dataclass(frozen=True, eq=False)
class Stats:
    """Statistics of each channel, as a value: `stats` makes it, `merge` adds more to it.

    Attributes
    ----------
    count : ndarray of float64, shape (C,)
        Number of values M of each channel, or the sum of their weights; less than ``2**53``. Up to
        there float64 holds every whole number, so counts are exact, those of merged parts too.
    mean : ndarray of float64, shape (C,)
        Their mean.
    m2 : ndarray of float64, shape (C,)
        Their squared distances from the mean, added up; NaN if a value is not finite.

    Raises
    ------
    TypeError
        An array is not of float64, has not one axis, or has a mask.
    ValueError
        A count is negative, NaN, or ``2**53`` or more; an m2 is negative; the lengths differ.

    Examples
    --------
    >>> import bn
    >>> batch = bn.stats(np.array([[1.0], [3.0], [8.0]]))
    >>> batch.count, batch.mean, batch.m2, batch.unbiased_var
    (array([3.]), array([4.]), array([26.]), array([13.]))
    """

    count: Doubles
    mean: Doubles
    m2: Doubles

    def __post_init__(self) -> None:
        vectors = _check.channel_vectors("Stats", vars(self))
        _check.counts("Stats", vectors["count"])
        _check.squares("Stats", vectors["m2"])
        object.__setattr__(self, "__dict__", vectors)  # it is frozen

    @cached_property
    def var(self) -> Doubles:
        """Biased variance, m2 / M: what normalizes (0 without any value)."""
        return self.m2 / np.where(self.count > 0, self.count, 1)

    @property
    def unbiased_var(self) -> Doubles:
        """Unbiased variance, m2 / (M - 1): what PyTorch keeps (0 for a single value).

        The divisor is at least M / 2: with weights whose sum M is below 2 the result is twice the
        biased variance.
        """
        divisor = np.maximum(self.count - 1, self.count / 2)
        return self.m2 / np.where(divisor > 0, divisor, 1)

    def _repr_html_(self) -> str:
        """What notebooks show: a table of the channels."""
        return stats_html(self)

    @classmethod
    def merged(cls, parts: Sequence[Stats]) -> Stats:
        """`bn.merge` of parts that were checked."""
        first = parts[0]
        count, mean, m2 = first.count.copy(), first.mean.copy(), first.m2.copy()
        for part in parts[1:]:
            core.merge(count, mean, m2, part.count, part.mean, part.m2)
        _check.counts("the merged Stats", count)
        return trusted(cls, count=count, mean=mean, m2=m2)


@dataclass(frozen=True, eq=False)
class BackwardSums:
    """What the backward pass needs to know of a whole batch, for each channel.

    Attributes
    ----------
    count : ndarray of float64, shape (C,)
        Number of values M of each channel, as in `Stats`.
    dy : ndarray of float64, shape (C,)
        Σ dy, which is the gradient of the bias.
    dy_xmu : ndarray of float64, shape (C,)
        Σ dy·(x - mean).

    Raises
    ------
    TypeError, ValueError
        As for `Stats`.

    Examples
    --------
    >>> import bn
    >>> sums = bn.backward_reduce(np.ones((2, 1)), np.array([[1.0], [3.0]]), np.array([1.0]))
    >>> sums.dbias, sums.dweight(np.array([4.0]), eps=0.0)
    (array([2.]), array([1.]))
    """

    count: Doubles
    dy: Doubles
    dy_xmu: Doubles

    def __post_init__(self) -> None:
        vectors = _check.channel_vectors("BackwardSums", vars(self))
        _check.counts("BackwardSums", vectors["count"])
        object.__setattr__(self, "__dict__", vectors)  # it is frozen

    @property
    def dbias(self) -> Doubles:
        """Gradient of the bias."""
        return self.dy

    def dweight(self, var: Array, eps: float = 1e-5) -> Doubles:
        """Gradient of the weight, Σ dy·(x - mean) / sqrt(var + eps)."""
        _check.per_channel("var", var, self.dy.size)
        _check.eps(eps)
        return self.dy_xmu * core.rstd(np.ascontiguousarray(var, float64), eps)

    @classmethod
    def merged(cls, parts: Sequence[BackwardSums]) -> BackwardSums:
        """`bn.merge` of parts that were checked."""
        columns = zip(*((p.count, p.dy, p.dy_xmu) for p in parts), strict=True)
        count, dy, dy_xmu = (np.sum(column, axis=0) for column in columns)
        _check.counts("the merged BackwardSums", count)
        return trusted(cls, count=count, dy=dy, dy_xmu=dy_xmu)


def commit_moments(
    batch: Stats,
    running_mean: Array,
    running_var: Array,
    momentum: float,
    *,
    unbiased: bool,
    nonfinite: str,
) -> Array | None:
    """`bn.commit` of arguments that were checked.

    Returns
    -------
    ndarray of bool, shape (C,), or None
        The channels that are not finite, and so were left alone, raised, or let in; None for none.
    """
    moments = (batch.count, batch.mean, batch.m2)
    policy = _check.NONFINITE.index(nonfinite)
    bad = core.commit(running_mean, running_var, *moments, momentum, unbiased, policy)
    if nonfinite == "raise" and bad is not None:
        _check.finite_channels(bad, running_var.dtype)
    return bad


def either(one: Array | None, other: Array | None) -> Array | None:
    """The channels of both results of `commit_moments`."""
    if one is None or other is None:
        return other if one is None else one
    return one | other
