"""Running statistics: how batches enter them, what is kept out, and the way back."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bn import _check
from bn._module import Array, Module
from bn.layers.choice import Choice, choices
from bn.layers.convention import Convention, share_at
from bn.layers.updates import updates_allowed
from bn.values import Stats, commit

if TYPE_CHECKING:
    from typing_extensions import Self

FEW_VALUES = 16  # of a channel: below, its statistics are mostly noise


class SmallBatchWarning(UserWarning):
    """The statistics of a batch are of few values, and so mostly noise.

    Examples
    --------
    >>> import bn
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     y = bn.BatchNorm1d(1)(np.array([[1.0], [2.0]]))
    >>> caught[0].category.__name__
    'SmallBatchWarning'
    """


class NonFiniteWarning(UserWarning):
    """A batch held infinities or NaN, and was kept out of the running statistics.

    Examples
    --------
    >>> import bn
    >>> layer, x = bn.BatchNorm1d(2), np.ones((20, 2))
    >>> x[0, 1] = np.inf
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     y = layer(x)
    >>> caught[0].category.__name__, layer.nonfinite_batches
    ('NonFiniteWarning', array([0, 1]))
    """


class Tracking(Module):
    """Running statistics, and what lets batches into them.

    Attributes
    ----------
    convention : Convention
        How a batch enters.
    momentum : float or None
        In the convention's meaning; None averages all batches alike.
    running_mean, running_var : ndarray or None, shape (C,)
    num_batches_tracked : ndarray of int64 or None, shape ()
    update_stats : bool or None
        Let batches in; None follows `train` and `eval`.
    nonfinite : {"skip", "raise", "propagate"}
        What happens to a channel whose batch has an inf or NaN.
    nonfinite_batches : ndarray of int64, shape (C,)
        How many of them each channel has seen.
    start : {"plain", "debiased", "first", "cumulative"}
        How the first batches count; see `share_at`.
    """

    _moved: ClassVar[tuple[str, ...]] = (  # what a batch changes
        "running_mean",
        "running_var",
        "num_batches_tracked",
    )
    if TYPE_CHECKING:
        momentum: float | None
        update_stats: bool | None
        nonfinite: str
        start: str
    else:
        momentum = Choice(None, _check.momentum)
        update_stats = Choice(None, _check.optional_flag)
        nonfinite = Choice("skip", _check.nonfinite)
        start = Choice("plain", _check.start)

    def __init__(self, convention: Convention, momentum: float | None) -> None:
        for name, choice in choices(type(self)).items():
            vars(self)[name] = choice.default
        self.convention = convention
        self.momentum = momentum
        self.running_mean: Array | None = None
        self.running_var: Array | None = None
        self.num_batches_tracked: Array | None = None
        self.nonfinite_batches: Array | None = None
        self._settled = False  # the statistics were set, by nobody knows how many batches
        self._warned: set[type[Warning]] = set()
        self._before: list[tuple[Array, Array]] = []  # what a batch changed, and what it held

    def observe(self, batch: Stats, training: bool = True, *, values: Array | None = None) -> None:
        """Let the statistics of a batch (with values) into the running ones, if that is allowed.

        `values` is of how many values each channel's are, where that is not the batch's count.
        """
        self._before = []
        if training:
            self._warn_of_few(batch.count if values is None else values)
        updates = training if self.update_stats is None else self.update_stats
        if not (updates and self._tracks() and updates_allowed()):
            return
        tracked = self.num_batches_tracked
        batches = 1 if tracked is None else int(tracked) + 1
        before = [(a, a.copy()) for name in self._moved if (a := getattr(self, name)) is not None]
        skipped = self._commit_all(batch, batches)
        self._before = before
        if tracked is not None:
            tracked[...] = batches
        if skipped:
            self._found_nonfinite(batch)

    def _tracks(self) -> bool:
        return self.running_mean is not None

    def _share(self, batches: int) -> float:
        """The weight of the newest batch's values, the last of so many."""
        if self.momentum is None:
            return 1 / batches
        start = "plain" if self._settled else self.start
        return share_at(start, self.convention.share(self.momentum), batches)

    def _commit_all(self, batch: Stats, batches: int) -> int:
        """Commit, where the share depends on how many batches a channel has let in."""
        if self.momentum is not None and self.start == "plain":
            return self._commit(batch, self.convention.share(self.momentum))
        left_out = self.nonfinite_batches
        if left_out is None or self.nonfinite != "skip" or not left_out.any():
            return self._commit(batch, self._share(batches))
        skipped = 0
        for out in np.unique(left_out):
            count = np.where(left_out == out, batch.count, 0)
            part = Stats(count, batch.mean, batch.m2)
            skipped += self._commit(part, self._share(batches - int(out)))
        return skipped

    def _commit(self, batch: Stats, share: float) -> int:
        """Returns how many channels were left out for an inf or NaN."""
        assert self.running_mean is not None and self.running_var is not None
        return commit(
            batch,
            self.running_mean,
            self.running_var,
            share,
            unbiased=self.convention.unbiased,
            nonfinite=self.nonfinite,
        )

    def _found_nonfinite(self, batch: Stats) -> None:
        bad = ~(np.isfinite(batch.mean) & np.isfinite(batch.m2))
        assert self.nonfinite_batches is not None
        self._before.append((self.nonfinite_batches, self.nonfinite_batches.copy()))
        self.nonfinite_batches += bad
        if self.nonfinite == "skip":
            channels = np.flatnonzero(bad)
            try:
                self._warn(NonFiniteWarning, _check.nonfinite_skipped(repr(self), channels))
            except NonFiniteWarning:  # the user made it an error, which changes nothing
                self.rollback()
                raise

    def _warn_of_few(self, values: Array) -> None:
        """Of channels with so many values each."""
        if SmallBatchWarning in self._warned:
            return
        few = values[0] if values[0] == values[-1] else values.min()
        if 0 < few < FEW_VALUES:
            self._warn(SmallBatchWarning, _check.few_values(repr(self), few, FEW_VALUES))

    def _warn(self, kind: type[Warning], message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, kind, stacklevel=_levels_to_the_caller())

    def set_running(self, mean: Array, var: Array, where: Array | bool = True) -> None:
        """Set the running statistics, of the channels where `where` is true."""
        assert self.running_mean is not None and self.running_var is not None
        np.copyto(self.running_mean, mean, where=where)
        np.copyto(self.running_var, var, where=where)
        self._before = []  # a rollback is of a batch, which these statistics do not have
        self._settled = True

    def _loaded(self, names: set[str]) -> None:
        self._before = []
        own = {self._state_names.get(name, name) for name in ("running_mean", "running_var")}
        self._settled = bool(own & names) and "num_batches_tracked" not in names

    def rollback(self) -> Self:
        """Put the running statistics back to what they were before the last batch.

        One batch back: a second call changes nothing, nor does one after the statistics were
        loaded, set or reset.
        """
        for array, before in self._before:
            array[...] = before
        self._before = []
        return self

    def _undo_forward(self) -> None:
        self.rollback()


def _levels_to_the_caller() -> int:
    """How far up the first frame outside of `bn` is, from the caller of this."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("bn."):
        level, frame = level + 1, frame.f_back
    return level
