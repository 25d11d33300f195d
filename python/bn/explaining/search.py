"""The search for what explains a difference: a smallest set of hypotheses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from bn.convert.setting import Setting
from bn.explaining.hypotheses import Hypothesis, applied, fits, read, usual
from bn.explaining.results import Results, computed, distances
from bn.types import Array

Found = tuple[Hypothesis, ...]
MOST_TOGETHER = 2  # of the hypotheses about a side that does not say what it computes


class Search:
    """What makes the results of one side those of the other.

    Parameters
    ----------
    own : Setting
        Of the side that is changed.
    other : Setting or None
        Of the other side, if it says what it computes.
    x : ndarray
        What both got.
    target : Results
        What the other side gave.
    tolerance : float
        The distance that is rounding.

    Examples
    --------
    >>> import bn
    >>> from bn.convert.setting import setting_of
    >>> x = np.random.default_rng(0).standard_normal((20, 3))
    >>> own = setting_of(bn.BatchNorm1d(3))
    >>> search = Search(own, None, x, Results(bn.normalize_batch(x, eps=1e-3)[0]), 1e-9)
    >>> search.found()
    (Hypothesis(name='epsilon', fields={'eps': 0.001}),)
    """

    def __init__(
        self, own: Setting, other: Setting | None, x: Array, target: Results, tolerance: float
    ) -> None:
        self.own, self.x, self.target, self.tolerance = own, x, target, tolerance
        self.known = () if other is None else tuple(read(own, other))
        self.usual = usual(own if other is None else other, x)

    def distance(self, hypotheses: Sequence[Hypothesis]) -> float:
        """How far the results are apart if these are so; infinite where x would not fit."""
        setting = applied(self.own, hypotheses)
        if not fits(setting, self.x):
            return np.inf
        with np.errstate(all="ignore"):
            return max(distances(computed(setting, self.x), self.target).values())

    def found(self) -> Found:
        """The smallest set that explains the difference, or the best one that was tried."""
        for candidate in self._candidates():
            if self.distance(candidate) <= self.tolerance:
                return self._needed(candidate)
        return self._best()

    def _candidates(self) -> Iterator[Found]:
        """Sets that may explain all: what both sides say, then what often is so besides."""
        yield self.known
        for size in range(1, MOST_TOGETHER + 1):
            for others in combinations(self.usual, size):
                if len({each.name for each in others}) == size:
                    yield (*self.known, *others)

    def _needed(self, hypotheses: Found) -> Found:
        """Those without which the rest would not explain the difference; the last go first."""
        for each in reversed(hypotheses):
            rest = tuple(other for other in hypotheses if other is not each)
            if self.distance(rest) <= self.tolerance:
                hypotheses = rest
        return hypotheses

    def _best(self) -> Found:
        """What takes away most of the difference, as long as each takes away half of the rest."""
        chosen: Found = ()
        left = self.distance(chosen)
        while True:
            options = [(*chosen, each) for each in (*self.known, *self.usual) if each not in chosen]
            best = min(options, key=self.distance, default=chosen)
            if not self.distance(best) < left / 2:
                return chosen
            chosen, left = best, self.distance(best)
