"""Running statistics: how batches enter them, what is kept out, and the way back."""

from __future__ import annotations

import operator
import sys
import warnings
from contextlib import ContextDecorator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn._core import core
from bn.layers.checked_attribute import Checked, set_defaults
from bn.layers.convention import TORCH, Convention, share_at
from bn.module import copy_all
from bn.statistics import Stats, commit_moments, either, trusted
from bn.types import Array

if TYPE_CHECKING:
    from typing_extensions import Self

    from bncore import Change

MOMENTS = {"mean", "var"}
MOST_BATCHES = np.iinfo(np.int64).max

Pairs = list[tuple[Array, Array]]  # (array, its new values)

_forbidden: ContextVar[object] = ContextVar("bn_updates_forbidden", default=None)


class no_stat_update(core.Setting, ContextDecorator):
    """Inside the block no running statistics are updated, whatever the layers' modes.

    For a second forward pass over the same batch (recomputed activations, adversarial examples, a
    discriminator that only looks). It holds for this thread. It can decorate a function, too.

    Examples
    --------
    >>> import bn, numpy as np
    >>> layer = bn.BatchNorm1d(3)
    >>> with no_stat_update():
    ...     y = layer(np.ones((20, 3), np.float32))
    >>> layer.running_mean, int(layer.num_batches_tracked)
    (array([0., 0., 0.], dtype=float32), 0)
    """

    def __init__(self) -> None:
        super().__init__(_forbidden)

    def value(self) -> object:
        return True


def updates_allowed() -> bool:
    """Whether no `no_stat_update` holds."""
    return _forbidden.get() is None


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


class RunningStats:
    """Running mean and variance of each channel, which batches enter one after the other.

    ``mean = (1 - share)·mean + share·batch.mean``, and so for the variance, where the share is what
    the convention makes of `momentum` and `start`. Every layer has one, as its `running`; it can
    also be used alone.

    Parameters
    ----------
    channels : int, optional
        The number of channels C. Without it there are no arrays until `build`, and no batch can
        enter before.
    convention : Convention, default PyTorch's
        Whose weight `momentum` is, which variance is kept, and what it begins with.
    momentum : float or None, default "default"
        In the convention's meaning; None averages all batches alike; "default" is its own.
    start : {"plain", "debiased", "first", "cumulative"}
        How the first batches count; see `share_at`.
    nonfinite : {"skip", "raise", "propagate"}
        What happens to a channel whose batch has statistics that are not finite in `dtype`.
    dtype : dtype, default float32
        Of mean and var, float32 or float64.

    Attributes
    ----------
    mean, var : ndarray or None, shape (C,)
    count : ndarray of int64 or None, shape ()
        The number of batches that were let in. If it is None, every batch is treated as the first.
        At ``2**63 - 1`` it stays: so late, one batch more or less changes no share.
    nonfinite_batches : ndarray of int64 or None, shape (C,)
        How many of them were not finite in each channel.

    Raises
    ------
    TypeError, ValueError
        An argument is not as above.

    Examples
    --------
    >>> import bn
    >>> running = RunningStats(1, momentum=0.5, dtype=np.float64)
    >>> bad = running.update(bn.stats(np.array([[1.0], [3.0]])))
    >>> running.mean, running.var, int(running.count)
    (array([1.]), array([1.5]), 1)
    >>> running.rollback().mean
    array([0.])
    """

    if TYPE_CHECKING:
        momentum: float | None
        nonfinite: str
        start: str
    else:
        momentum = Checked(None, _check.momentum)
        nonfinite = Checked("skip", _check.nonfinite)
        start = Checked("plain", _check.start)

    def __init__(
        self,
        channels: int | None = None,
        *,
        convention: Convention = TORCH,
        momentum: float | Literal["default"] | None = "default",
        start: str = "plain",
        nonfinite: str = "skip",
        dtype: DTypeLike = np.float32,
    ) -> None:
        _check.instance("convention", convention, Convention)
        set_defaults(self)
        self.convention = convention
        default = isinstance(momentum, str) and momentum == "default"
        self.momentum = convention.momentum if default else cast("float | None", momentum)
        self.start, self.nonfinite = start, nonfinite
        self.dtype = _check.floating_dtype(dtype)
        self.mean: Array | None = None
        self.var: Array | None = None
        self.count: Array | None = None
        self.nonfinite_batches: Array | None = None
        self._given = np.array(False)  # set or loaded, of an unknown number of batches
        self._change: Change | None = None  # what the last batch changed
        self._warned = False
        if channels is not None:
            _check.positive_int("channels", channels)
            self.build(*self.initial(channels))

    def initial(self, channels: int) -> tuple[Array, Array]:
        """Mean and variance before the first batch."""
        return np.zeros(channels, self.dtype), np.full(
            channels, self.convention.initial_var, self.dtype
        )

    def build(self, mean: Array, var: Array) -> None:
        """Begin with these arrays, which are not copied."""
        vars(self).update(self.begun(mean, var))  # all at once, whatever interrupts it

    def begun(self, mean: Array, var: Array) -> dict[str, Array]:
        """The attributes that begin with a mean and a variance."""
        bad = np.zeros(mean.shape, np.int64)
        return {"mean": mean, "var": var, "count": np.array(0, np.int64), "nonfinite_batches": bad}

    # ---- a batch enters ----

    def update(self, batch: Stats, owner: object = None) -> Array | None:
        """Let the statistics of a batch in.

        All arrays take their new values in one step, which no signal handler interrupts: after any
        exception they belong to the same batches.

        Parameters
        ----------
        batch : Stats
            Channels without values leave the running statistics alone.
        owner : object, optional
            Whose repr stands in warnings.

        Returns
        -------
        ndarray of bool, shape (C,), or None
            The channels whose batch was not finite; None for none.

        Raises
        ------
        RuntimeError
            There are no arrays yet: see `build`.
        TypeError, ValueError
            `batch` is no `Stats`, or `mean` and `var` are not arrays that can take it: float32 or
            float64, shape (C,), writeable.
        """
        if self.mean is None and self.var is None:
            raise RuntimeError("running statistics must be built before a batch enters them")
        _check.instance("batch", batch, Stats)
        channels = batch.count.size
        if not core.takes_batch(self.mean, self.var, channels):
            _check.running(self.mean, self.var, channels)
        if self.nonfinite_batches is None:  # mean and var were assigned, not built
            self.nonfinite_batches = np.zeros(channels, np.int64)
        change = core.Change(list(self.arrays().values()))
        batches = 1 if self.count is None else int(self.count) + 1
        if self._commits_at_once() and change.commits(channels):
            policy = _check.NONFINITE.index(self.nonfinite)
            moments = (batch.count, batch.mean, batch.m2)
            share, unbiased = self.share(batches), self.convention.unbiased
            self._change = change
            bad = change.commit(*moments, share, unbiased, policy)
        else:
            bad = self._enter_copies(change, batch, batches)
        if bad is not None and self.nonfinite == "skip" and not self._warned:
            self._warn_of_nonfinite(bad, self if owner is None else owner)
        return bad

    def _commits_at_once(self) -> bool:
        """Whether one share serves all channels, and no subclass does more with a batch."""
        if type(self) is not RunningStats or self.nonfinite == "raise":
            return False
        assert self.nonfinite_batches is not None
        return self._has_one_share(self.nonfinite_batches)

    def _has_one_share(self, missed: Array) -> bool:
        """Whether the share is the same for channels that have missed so many batches."""
        alike = self.start == "plain" and self.momentum is not None
        return alike or self.nonfinite != "skip" or not missed.any()

    def _enter_copies(self, change: Change, batch: Stats, batches: int) -> Array | None:
        """Let a batch into copies of the arrays, and copy them into place in one step."""
        new = dict(zip(self.arrays(), change.after, strict=True))
        bad = self.enter(new, batch, batches)
        if "count" in new:
            new["count"][...] = min(batches, MOST_BATCHES)
        if bad is not None:
            missed = new["nonfinite_batches"]
            missed += bad & (missed < MOST_BATCHES)
        self._change = change
        change.apply()
        return bad

    def arrays(self) -> dict[str, Array]:
        """All that a batch changes."""
        assert self.mean is not None and self.var is not None
        assert self.nonfinite_batches is not None
        arrays = {
            "mean": self.mean,
            "var": self.var,
            "nonfinite_batches": self.nonfinite_batches,
        }
        return arrays if self.count is None else {**arrays, "count": self.count}

    def enter(self, new: dict[str, Array], batch: Stats, batches: int) -> Array | None:
        """Take the last of so many batches into `new`, copies of `arrays()`.

        Returns which channels are not finite.

        The share depends on how many batches a channel has let in before, so channels that missed
        different numbers of batches are committed apart.
        """
        missed = new["nonfinite_batches"]
        if self._has_one_share(missed):
            return self.commit(new, batch, self.share(batches))
        bad = None
        for number in np.unique(missed):
            count = np.where(missed == number, batch.count, 0)
            part = trusted(Stats, count=count, mean=batch.mean, m2=batch.m2)
            bad = either(bad, self.commit(new, part, self.share(batches - int(number))))
        return bad

    def share(self, batches: int) -> float:
        """The weight of the newest batch, the last of so many."""
        if self.momentum is None:
            return 1 / batches
        start = "plain" if self._given else self.start
        return share_at(start, self.convention.share(self.momentum), batches)

    def commit(self, new: dict[str, Array], batch: Stats, share: float) -> Array | None:
        """Take a batch with this share into the new mean and variance."""
        unbiased, nonfinite = self.convention.unbiased, self.nonfinite
        return commit_moments(
            batch, new["mean"], new["var"], share, unbiased=unbiased, nonfinite=nonfinite
        )

    def _warn_of_nonfinite(self, bad: Array, owner: object) -> None:
        message = _check.nonfinite_skipped(repr(owner), np.flatnonzero(bad), self.dtype)
        self._warned = True
        try:
            warn(NonFiniteWarning, message)
        except NonFiniteWarning:  # the user made it an error, which changes nothing
            self.rollback()
            raise

    # ---- the way back ----

    def rollback(self) -> Self:
        """Take back the last batch.

        One batch back: a second call changes nothing, nor does one after the statistics were
        loaded, set, assigned or reset, or after a later forward pass of the layer (in eval too).
        """
        change, own = self._change, (self.mean, self.var)
        if change is not None and all(map(operator.is_, own, change.arrays)):
            change.undo()
        return self

    def settle(self) -> None:
        """Make the last batch final: `rollback` changes nothing any more."""
        self._change = None

    # ---- statistics from elsewhere ----

    def assign(self, mean: Array, var: Array, where: Array | bool = True) -> None:
        """Set mean and variance, of the channels where `where` is true."""
        copy_all(self.assigning(mean, var, where))

    def assigning(self, mean: Array, var: Array, where: Array | bool = True) -> Pairs:
        """(array, its new values) of all that `assign` changes, to be copied with other arrays."""
        self.settle()  # a rollback is of a batch, which these statistics do not have
        assert self.mean is not None and self.var is not None
        return [
            (self.mean, replaced(self.mean, mean, where)),
            (self.var, replaced(self.var, var, where)),
            (self._given, np.array(True)),
        ]

    def loading(self, names: set[str]) -> Pairs:
        """What else changes when arrays of these names ("mean", "var", "count") are loaded."""
        self.settle()
        given = bool({"mean", "var"} & names) and "count" not in names
        pairs = [(self._given, np.array(given))]
        if "count" in names and self.nonfinite_batches is not None:
            pairs.append((self.nonfinite_batches, np.zeros_like(self.nonfinite_batches)))
        return pairs

    def further_state(self) -> dict[str, Array]:
        """All arrays but mean and var that the next batches depend on; not copies."""
        if self.mean is None or self.nonfinite_batches is None:
            return {}
        own = {name: array for name, array in self.arrays().items() if name not in MOMENTS}
        return {"given": self._given, **own}

    def restarting(self, mean: Array, var: Array) -> Pairs:
        """(array, its new values) of a new beginning with this mean and variance."""
        self.settle()
        begun = self.begun(mean, var)
        pairs = [(array, begun[name]) for name, array in self.arrays().items()]
        return [*pairs, (self._given, np.array(False))]

    def reset(self) -> Self:
        """Begin anew, with the convention's mean and variance."""
        if self.mean is None:
            return self
        copy_all(self.restarting(*self.initial(self.mean.size)))
        return self

    def __repr__(self) -> str:
        channels = None if self.mean is None else self.mean.size
        words = self.convention.words(self.momentum)
        return f"{type(self).__name__}({channels}, {words})"


def replaced(old: Array, new: Array, where: Array | bool) -> Array:
    """A copy of old with the new values where `where` is true."""
    values = old.copy()
    np.copyto(values, new, where=where)
    return values


def warn(kind: type[Warning], message: str) -> None:
    """Warn at the first line outside of `bn` that led here."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("bn."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, kind, stacklevel=level)
