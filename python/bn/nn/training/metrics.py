"""What is measured beside the loss: the accuracy, and functions of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from bn import _check
from bn.nn.cross_entropy import CrossEntropyLoss
from bn.nn.losses import BCEWithLogitsLoss
from bn.nn.reduction import Loss
from bn.types import Array

Metric: TypeAlias = Callable[[Array, Array], float]
Metrics: TypeAlias = Iterable[str | Metric]
KNOWN = ("accuracy",)  # those with names


def named(metrics: Metrics, criterion: object) -> dict[str, Metric]:
    """The functions of metrics by their names."""
    _check.several_metrics(metrics)
    found: dict[str, Metric] = {}
    for metric in metrics:
        _check.metric(metric, KNOWN)
        if callable(metric):
            found[getattr(metric, "__name__", type(metric).__name__)] = metric
        else:
            found[metric] = Accuracy(criterion)
    return found


def fitting(metrics: dict[str, Metric], criterion: object, y: Array) -> dict[str, Metric]:
    """The metrics without `Accuracy` where that means nothing.

    It means nothing for the losses of a regression, and for a loss of one's own with targets that
    are no integers.
    """
    if classifies(criterion, y):
        return metrics
    return {name: each for name, each in metrics.items() if not isinstance(each, Accuracy)}


def classifies(criterion: object, y: Array) -> bool:
    """Whether targets are classes."""
    own = not isinstance(criterion, Loss)
    known = isinstance(criterion, (CrossEntropyLoss, BCEWithLogitsLoss))
    return known or (own and y.dtype.kind in "iub")


class Ratio:
    """A metric that is one sum divided by another, which both go on over the batches.

    Examples
    --------
    >>> class Positive(Ratio):
    ...     def counted(self, out, y):
    ...         return int((out > 0).sum()), out.size
    >>> Positive()(np.array([1.0, -1.0]), None)
    0.5
    """

    def counted(self, out: Array, y: Array) -> tuple[float, float]:
        """Both sums for some samples."""
        raise NotImplementedError(f"{type(self).__name__}.counted")

    def __call__(self, out: Array, y: Array) -> float:
        total, count = self.counted(out, y)
        return total / max(1, count)


class Accuracy(Ratio):
    """The share of right answers, of the positions that the criterion does not ignore.

    Parameters
    ----------
    criterion : callable
    """

    def __init__(self, criterion: Any) -> None:
        self.ignored = getattr(criterion, "ignore_index", None)
        self.binary = isinstance(criterion, BCEWithLogitsLoss)

    def counted(self, out: Array, y: Array) -> tuple[int, int]:
        """How many answers are right, and how many count."""
        if self.binary:
            return int(np.count_nonzero((out > 0) == (np.asarray(y) > 0.5))), out.size
        right, counts = _right(out, np.asarray(y), self.ignored)
        return int(np.count_nonzero(right & counts)), int(np.count_nonzero(counts))


def _right(out: Array, y: Array, ignored: int | None) -> tuple[Array, Array]:
    """Where the answers are right, and which of them count."""
    answers = out.argmax(axis=1)
    if y.shape == out.shape:  # probabilities, or one-hot
        return answers == y.argmax(axis=1), np.ones(answers.shape, bool)
    y = y.reshape(answers.shape)
    return answers == y, y != ignored if ignored is not None else np.ones(y.shape, bool)


class Totals:
    """Sums of the loss and the metrics, and of what they are to be divided by, over batches."""

    def __init__(self, names: Iterable[str]) -> None:
        self.sums = {"loss": 0.0, **dict.fromkeys(names, 0.0)}
        self.counts = dict.fromkeys(self.sums, 0.0)
        self.samples = 0

    def add(self, loss: float, count: float, criterion: object, n: int) -> None:
        """Take in the loss of n samples, which is a mean over `count`, or a sum."""
        summed = getattr(criterion, "reduction", "mean") == "sum"
        if count:
            self._add("loss", loss if summed else loss * count, n if summed else count)

    def measure(self, metrics: dict[str, Metric], out: Array, y: Array) -> None:
        """Take in the metrics of some samples."""
        self.samples += len(y)
        for name, metric in metrics.items():
            if isinstance(metric, Ratio):
                self._add(name, *metric.counted(out, y))
            else:
                self._add(name, float(metric(out, y)) * len(y), len(y))

    def include(self, other: Totals) -> None:
        """Take in what others have."""
        for name, total in other.sums.items():
            self._add(name, total, other.counts[name])
        self.samples += other.samples

    def _add(self, name: str, total: float, count: float) -> None:
        self.sums[name] += total
        self.counts[name] += count

    def means(self, prefix: str = "") -> dict[str, float]:
        """The means by their names; NaN for one of nothing."""
        return {prefix + name: self.mean(name) for name in self.sums}

    def mean(self, name: str) -> float:
        """One of the means."""
        return self.sums[name] / self.counts[name] if self.counts[name] else math.nan
