"""Statistics and backward sums as values: they merge, and statistics are committed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar, cast

import numpy as np
from numpy import float64
from numpy.typing import NDArray

from bn import _check
from bn._core import core
from bn.module import Array

Doubles = NDArray[float64]
Made = TypeVar("Made")


def trusted(kind: type[Made], **vectors: Doubles) -> Made:
    """A Stats or BackwardSums of what the core returned, which needs no check."""
    value = object.__new__(kind)
    value.__dict__.update(vectors)
    return value


@dataclass(frozen=True, eq=False)
class Stats:
    """Statistics of each channel, as a value: `stats` makes it, `merge` adds more to it.

    Attributes
    ----------
    count : ndarray of float64, shape (C,)
        Number of values M of each channel.
    mean : ndarray of float64, shape (C,)
        Their mean.
    m2 : ndarray of float64, shape (C,)
        Their squared distances from the mean, added up.
    """

    count: Doubles
    mean: Doubles
    m2: Doubles

    def __post_init__(self) -> None:
        _check.channel_vectors("Stats", vars(self))

    @cached_property
    def var(self) -> Doubles:
        """Biased variance, m2 / M: what normalizes (0 without any value)."""
        return self.m2 / np.where(self.count > 0, self.count, 1)

    @property
    def unbiased_var(self) -> Doubles:
        """Unbiased variance, m2 / (M - 1): what PyTorch keeps (0 for a single value).

        Of weights that add up to less than 2 it is twice the biased one, and no more.
        """
        divisor = np.maximum(self.count - 1, self.count / 2)
        return self.m2 / np.where(divisor > 0, divisor, 1)

    @classmethod
    def _merged(cls, parts: Sequence[Stats]) -> Stats:
        total = cls(parts[0].count.copy(), parts[0].mean.copy(), parts[0].m2.copy())
        for part in parts[1:]:
            core.merge(total.count, total.mean, total.m2, part.count, part.mean, part.m2)
        return total


@dataclass(frozen=True, eq=False)
class BackwardSums:
    """What the backward pass needs to know of a whole batch, for each channel.

    Attributes
    ----------
    count : ndarray of float64, shape (C,)
        Number of values M of each channel.
    dy : ndarray of float64, shape (C,)
        Σ dy, which is the gradient of the bias.
    dy_xmu : ndarray of float64, shape (C,)
        Σ dy·(x - mean).
    """

    count: Doubles
    dy: Doubles
    dy_xmu: Doubles

    def __post_init__(self) -> None:
        _check.channel_vectors("BackwardSums", vars(self))

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
    def _merged(cls, parts: Sequence[BackwardSums]) -> BackwardSums:
        columns = zip(*((p.count, p.dy, p.dy_xmu) for p in parts), strict=True)
        return cls(*(np.sum(column, axis=0) for column in columns))


Mergeable = TypeVar("Mergeable", Stats, BackwardSums)


def merge(parts: Iterable[Mergeable]) -> Mergeable:
    """Statistics (or backward sums) of several sets of values taken together.

    Parameters
    ----------
    parts : iterable of Stats, or of BackwardSums
        Of any sizes, empty ones included, all with the same number of channels.

    Returns
    -------
    Stats or BackwardSums
        What one call over all the values would have returned, to rounding in float64.

    Raises
    ------
    TypeError
        Nothing to merge, or not all of one kind.
    ValueError
        Different numbers of channels.

    Examples
    --------
    >>> from bn import stats
    >>> x = np.array([[1.0], [3.0], [8.0]])
    >>> whole, both = stats(x), merge([stats(x[:1]), stats(x[1:])])
    >>> both.mean, both.m2, whole.m2
    (array([4.]), array([26.]), array([26.]))
    """
    _check.several("parts", parts)
    parts = list(parts)
    kind = _check.same_type("parts", parts, (Stats, BackwardSums))
    for part in parts:
        _check.shape("each part", part.count, parts[0].count.shape)
    return cast("Mergeable", kind._merged(parts))  # type: ignore[attr-defined]


def commit(
    batch: Stats,
    running_mean: Array,
    running_var: Array,
    momentum: float = 0.1,
    *,
    unbiased: bool = True,
    nonfinite: str = "skip",
) -> int:
    """Take a batch's statistics into the running ones, in place.

    ``running = (1 - momentum)·running + momentum·batch``, computed in float64.

    Parameters
    ----------
    batch : Stats
        From `stats` or `merge`. Channels without values leave the running statistics alone.
    running_mean, running_var : ndarray of float32 or float64, shape (C,)
        Updated in place.
    momentum : float, default 0.1
        The weight of the new value, as in PyTorch (Keras's momentum is ``1 - momentum``).
    unbiased : bool, default True
        Keep m2 / (M - 1), as PyTorch does; False keeps m2 / M, as Keras, Flax and ONNX do.
    nonfinite : {"skip", "raise", "propagate"}, default "skip"
        What to do with a channel whose statistics would not be finite in the dtypes of the running
        ones, because its batch has an inf or NaN or its values are too large: leave its running
        statistics alone, raise and change nothing, or let it in, as the frameworks do.

    Returns
    -------
    int
        The number of such channels.

    Examples
    --------
    >>> from bn import stats
    >>> mean, var = np.zeros(1), np.ones(1)
    >>> commit(stats(np.array([[1.0], [3.0]])), mean, var, momentum=0.5)
    0
    >>> mean, var
    (array([1.]), array([1.5]))
    """
    _check.same_type("batch", [batch], (Stats,))
    _check.running(running_mean, running_var, batch.count.size)
    _check.finite("momentum", momentum)
    _check.nonfinite("nonfinite", nonfinite)
    return int(
        np.count_nonzero(
            commit_checked(
                batch, running_mean, running_var, momentum, unbiased=unbiased, nonfinite=nonfinite
            )
        )
    )


def commit_checked(
    batch: Stats,
    running_mean: Array,
    running_var: Array,
    momentum: float,
    *,
    unbiased: bool,
    nonfinite: str,
) -> Array:
    """`commit` of arguments that fit; returns which channels are not finite."""
    moments = (batch.count, batch.mean, batch.m2)
    policy = _check.NONFINITE.index(nonfinite)
    bad = core.commit(running_mean, running_var, *moments, momentum, unbiased, policy)
    if nonfinite == "raise":
        _check.finite_channels(bad, running_var.dtype)
    return bad
