"""Running statistics: how batches enter them, what is kept out, and the way back."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bn import _check
from bn._core import core
from bn.layers.checked_attribute import Choice, choices
from bn.layers.convention import Convention, share_at
from bn.layers.updates import updates_allowed
from bn.module import Array, Module, copy_all
from bn.statistics import Stats, commit_checked

if TYPE_CHECKING:
    from typing_extensions import Self

    from bncore import Change

Arrays = dict[str, Array]
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
    """The statistics of a batch were not finite, and were kept out of the running ones.

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
        What happens to a channel whose statistics are not finite in the layer's dtype.
    nonfinite_batches : ndarray of int64, shape (C,)
        How many of them each channel has seen.
    start : {"plain", "debiased", "first", "cumulative"}
        How the first batches count; see `share_at`.
    """

    _moved: ClassVar[tuple[str, ...]] = (  # what a batch changes
        "running_mean",
        "running_var",
        "num_batches_tracked",
        "nonfinite_batches",
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
        self._settled = np.array(False)  # set from elsewhere, of an unknown number of batches
        self._warned: set[type[Warning]] = set()
        self._change: Change | None = None  # what the last batch changed

    def observe(self, batch: Stats, training: bool = True, *, values: Array | None = None) -> None:
        """Let the statistics of a batch (with values) into the running ones, if that is allowed.

        All arrays that a batch changes take their new values in one step, which no signal handler
        interrupts: after any exception they belong to the same batches.

        `values` is of how many values each channel's are, where that is not the batch's count.
        """
        self._change = None
        if training:
            self._warn_of_few(batch.count if values is None else values)
        updates = training if self.update_stats is None else self.update_stats
        if not (updates and self._tracks() and updates_allowed()):
            return
        arrays = {name: a for name in self._moved if (a := getattr(self, name)) is not None}
        new = {name: array.copy() for name, array in arrays.items()}
        tracked = new.get("num_batches_tracked")
        bad = self._commit_all(new, batch, 1 if tracked is None else int(tracked) + 1)
        if tracked is not None:
            tracked += 1
        new["nonfinite_batches"] += bad
        self._change = core.Change(list(arrays.values()), list(new.values()))
        self._change.apply()
        if bad.any() and self.nonfinite == "skip":
            self._warn_of_nonfinite(np.flatnonzero(bad), arrays["running_var"].dtype)

    def _tracks(self) -> bool:
        return self.running_mean is not None

    def _share(self, batches: int) -> float:
        """The weight of the newest batch's values, the last of so many."""
        if self.momentum is None:
            return 1 / batches
        start = "plain" if self._settled else self.start
        return share_at(start, self.convention.share(self.momentum), batches)

    def _commit_all(self, new: Arrays, batch: Stats, batches: int) -> Array:
        """Commit, where the share depends on how many batches a channel has let in."""
        if self.momentum is not None and self.start == "plain":
            return self._commit(new, batch, self.convention.share(self.momentum))
        left_out = new["nonfinite_batches"]
        if self.nonfinite != "skip" or not left_out.any():
            return self._commit(new, batch, self._share(batches))
        bad = np.zeros(left_out.shape, bool)
        for out in np.unique(left_out):
            count = np.where(left_out == out, batch.count, 0)
            part = Stats(count, batch.mean, batch.m2)
            bad |= self._commit(new, part, self._share(batches - int(out)))
        return bad

    def _commit(self, new: Arrays, batch: Stats, share: float) -> Array:
        """Take a batch into the new values of the arrays; returns which channels are not finite."""
        return commit_checked(
            batch,
            new["running_mean"],
            new["running_var"],
            share,
            unbiased=self.convention.unbiased,
            nonfinite=self.nonfinite,
        )

    def _warn_of_nonfinite(self, channels: Array, dtype: np.dtype[Any]) -> None:
        try:
            self._warn(NonFiniteWarning, _check.nonfinite_skipped(repr(self), channels, dtype))
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
        copy_all(self.running_values(mean, var, where))

    def running_values(
        self, mean: Array, var: Array, where: Array | bool = True
    ) -> list[tuple[Array, Array]]:
        """(array, its new values) of all that `set_running` sets; a rollback ends here."""
        self._change = None  # a rollback is of a batch, which these statistics do not have
        assert self.running_mean is not None and self.running_var is not None
        return [
            (self.running_mean, replaced(self.running_mean, mean, where)),
            (self.running_var, replaced(self.running_var, var, where)),
            (self._settled, np.array(True)),
        ]

    def _loading(self, names: set[str]) -> list[tuple[Array, Array]]:
        self._change = None
        own = {self._state_names.get(name, name) for name in ("running_mean", "running_var")}
        settled = bool(own & names) and "num_batches_tracked" not in names
        return [(self._settled, np.array(settled))]

    def rollback(self) -> Self:
        """Put the running statistics back to what they were before the last batch.

        One batch back: a second call changes nothing, nor does one after the statistics were
        loaded, set or reset.
        """
        if self._change is not None:
            self._change.undo()
        return self

    def _undo_forward(self, mark: int) -> None:
        if self._change is not None and self._change.number > mark:
            self._change.undo()
        super()._undo_forward(mark)


def replaced(old: Array, new: Array, where: Array | bool) -> Array:
    values = old.copy()
    np.copyto(values, new, where=where)
    return values


def _levels_to_the_caller() -> int:
    """How far up the first frame outside of `bn` is, from the caller of this."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("bn."):
        level, frame = level + 1, frame.f_back
    return level
