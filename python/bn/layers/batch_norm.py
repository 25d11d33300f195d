"""The one batch normalization layer; the families add names, defaults and conventions to it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn._core import core
from bn.functional import backward_apply, backward_reduce, normalize, stats
from bn.fused import backward_batch, normalize_batch
from bn.layers.checked_attribute import Checked, changed, part_of, set_defaults
from bn.layers.combining import Combine, combiner
from bn.layers.convention import Convention
from bn.layers.correction import Correction
from bn.layers.running_stats import RunningStats, updates_allowed, warn
from bn.layers.waiting import Normalization
from bn.layers.watching import is_watched, tell_watchers
from bn.masking import clean, position_weights
from bn.module import Module, copy_all
from bn.parameter import Parameter
from bn.recording.waiting import Waiting
from bn.statistics import BackwardSums, Stats
from bn.types import Array, Doubles, Shape

if TYPE_CHECKING:
    from typing_extensions import Self

FEW_VALUES = 16  # of a channel: below, its statistics are mostly noise
Combined = TypeVar("Combined", Stats, BackwardSums)


class SmallBatchWarning(UserWarning):
    """The statistics of a batch are of few values, and so mostly noise, or of none.

    Examples
    --------
    >>> import bn, warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     y = bn.BatchNorm1d(1)(np.array([[1.0], [2.0]]))
    >>> caught[0].category.__name__
    'SmallBatchWarning'
    """


class Call(NamedTuple):
    """One forward pass: what normalized x, and what the backward pass needs of it.

    Attributes
    ----------
    x : ndarray
    axis : int
        The channel axis, counted from the front.
    eps : float
        ``y = (x - mean) / sqrt(var + eps) · weight + bias``, but for a correction.
    batch : Stats or None
        The statistics of the batch, if they normalized.
    constants : tuple of ndarray or None
        The running mean and var, if they normalized.
    weights : ndarray or None
        How much each value counts in the batch's statistics; None for all alike.
    correction : Correction or None
    combine : callable or None
        What made the batch's statistics of a part's; the backward pass makes its sums with it too.
    """

    x: Array
    axis: int
    eps: float
    batch: Stats | None = None
    constants: tuple[Array, Array] | None = None
    weights: Array | None = None
    correction: Correction | None = None
    combine: Combine | None = None

    @property
    def mean(self) -> Array:
        return self._normalizing()[0]

    @property
    def var(self) -> Array:
        return self._normalizing()[1]

    def _normalizing(self) -> tuple[Array, Array]:
        if self.batch is not None:
            return self.batch.mean, self.batch.var
        assert self.constants is not None
        return self.constants


class BatchNorm(Module):
    """Statistics, then normalization with them; and back.

    Between forward and backward the layer keeps x itself and O(C) numbers. A family says in
    `convention` how a batch enters the running statistics.

    `forward` and `backward` are made of steps that wrappers use too: `prepare` checks x,
    `normalize` (or `statistics`, then `apply`) normalizes it, `observe` lets the statistics into
    the running ones; `gradient` is dx, and `add_gradients` adds to those of weight and bias. They
    are there to be called. Overriding one of them in a subclass may have no effect, because
    `normalize` and `gradient` compute several steps in one pass where they can.

    Parameters
    ----------
    running : RunningStats
        The running statistics, not built yet, and the convention and dtype of the layer.
    num_features : int or None
        The number of channels C; None learns it from the first batch, or from `build`.
    eps : float
        Added to the variance, or to its root where the convention says so (Darknet).
    axis : int
        The channel axis.
    scale, center : bool, default True
        Have a weight; have a bias.
    tracked : bool, default True
        Have running statistics.

    Attributes
    ----------
    running : RunningStats
        The running statistics, and how batches enter them. The next six are parts of it.
    running_mean, running_var : ndarray or None, shape (C,)
        The statistics themselves.
    num_batches_tracked : ndarray of int64 or None, shape ()
        How many batches have entered them.
    momentum : float or None
        In the convention's meaning; None averages all batches alike.
    nonfinite : {"skip", "raise", "propagate"}
        What happens to a channel whose statistics are not finite in the layer's dtype.
    nonfinite_batches : ndarray of int64 or None, shape (C,)
        How many such batches each channel has seen.
    start : {"plain", "debiased", "first", "cumulative"}
        How the first batches count: "plain", each with momentum's share; "debiased", the same
        without the share of the initial 0 and 1; "first", the first batch replaces these;
        "cumulative", the average of all batches.
    use_batch_stats, update_stats : bool or None
        Normalize with the batch's statistics; update the running ones with them. None follows
        `train` and `eval`.
    train_affine : bool
        Let `backward` add to the gradients of weight and bias.
    combine : callable or None
        Turns a part's statistics into those of the whole batch, if x is only a part of it: from
        `Stats` to `Stats` in forward, from `BackwardSums` to `BackwardSums` in backward, whose
        count need not be right. The gradients of weight and bias are those of the part. None takes
        that of a `bn.synchronized` block around the call, if there is one.

    Examples
    --------
    >>> import bn
    >>> running = bn.RunningStats(momentum=0.5)
    >>> layer = BatchNorm(running, 3, eps=1e-5, axis=-1)
    >>> y = layer(np.full((5, 4, 3), 2.0, np.float32))
    >>> layer.running_mean
    array([1., 1., 1.], dtype=float32)
    """

    fuses = True
    ranks: ClassVar[tuple[int, ...]] = ()  # numbers of axes that x may have; () for any
    if TYPE_CHECKING:
        eps: float
        combine: Callable[[Combined], Combined] | None
        use_batch_stats: bool | None
        update_stats: bool | None
        train_affine: bool
        running_mean: Array | None
        running_var: Array | None
        num_batches_tracked: Array | None
        nonfinite_batches: Array | None
        momentum: float | None
        nonfinite: str
        start: str
    else:
        eps = Checked(1e-5, _check.named_eps)
        use_batch_stats = Checked(None, _check.optional_flag)
        update_stats = Checked(None, _check.optional_flag)
        train_affine = Checked(True, _check.flag)
        combine = Checked(None, _check.optional_function)
        running_mean = part_of("running", "mean")
        running_var = part_of("running", "var")
        num_batches_tracked = part_of("running", "count")
        nonfinite_batches = part_of("running", "nonfinite_batches")
        momentum = part_of("running", "momentum")
        nonfinite = part_of("running", "nonfinite")
        start = part_of("running", "start")

    def __init__(
        self,
        running: RunningStats,
        num_features: int | None,
        eps: float,
        axis: int,
        *,
        scale: bool = True,
        center: bool = True,
        tracked: bool = True,
    ) -> None:
        _check.integer("axis", axis)
        for name, value in (("scale", scale), ("center", center), ("tracked", tracked)):
            _check.flag(name, value)
        if num_features is not None:
            _check.positive_int("num_features", num_features)
        set_defaults(self)
        self.running = running
        self.convention: Convention = running.convention
        self.dtype = running.dtype
        self.num_features: int | None = None
        self.eps = eps
        self.axis = axis
        self.has_weight, self.has_bias, self.has_running = scale, center, tracked
        self.weight: Parameter | None = None
        self.bias: Parameter | None = None
        self._warned = False  # of few values
        if num_features is not None:
            self.build_channels(num_features)

    # ---- channels: known, or learned from the first input ----

    def build(self, input_shape: Shape) -> None:
        """Create parameters and statistics for inputs of this shape (without the batch axis)."""
        channels = _check.unbatched_channels(input_shape, self.axis, self.num_features)
        _check.batch_rank(type(self).__name__, len(input_shape) + 1, self.ranks)
        self.build_channels(channels)

    def build_channels(self, channels: int) -> None:
        """Create parameters and statistics for so many channels, unless there are some."""
        if self.num_features is not None:
            return
        made: dict[str, object] = {"num_features": channels}
        if self.has_weight:
            made["weight"] = Parameter(self.initial("weight", channels))
        if self.has_bias:
            made["bias"] = Parameter(self.initial("bias", channels))
        if self.has_running:
            self.running.build(
                self.initial("running_mean", channels), self.initial("running_var", channels)
            )
        vars(self).update(made)  # all at once, whatever interrupts it

    def initial(self, name: str, channels: int) -> Array:
        """What weight, bias, running_mean or running_var begins with."""
        values = {"weight": 1.0, "running_var": self.convention.initial_var}
        return np.full(channels, values.get(name, 0.0), self.dtype)

    def reset_running_stats(self) -> Self:
        """Begin the running statistics anew."""
        if self.running.mean is not None and self.num_features is not None:
            copy_all(
                self.running.restarting(
                    self.initial("running_mean", self.num_features),
                    self.initial("running_var", self.num_features),
                )
            )
        return self

    def reset_parameters(self) -> Self:
        """Begin all anew: parameters and running statistics."""
        self.reset_running_stats()
        copy_all(
            (parameter.data, self.initial(name, parameter.size))
            for name, parameter in (("weight", self.weight), ("bias", self.bias))
            if parameter is not None
        )
        return self

    @property
    def built(self) -> bool:
        return self.num_features is not None

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.unbatched_channels(input_shape, self.axis, self.num_features)
        _check.batch_rank(type(self).__name__, len(input_shape) + 1, self.ranks)
        return input_shape

    # ---- forward ----

    def forward(
        self,
        x: Array,
        *,
        training: bool | None = None,
        mask: ArrayLike | None = None,
        lengths: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Array:
        """Normalize x; in training with its own statistics, which enter the running ones.

        Parameters
        ----------
        x : ndarray
            The batch.
        training : bool, optional
            For this call, instead of the layer's mode.
        mask, lengths, sample_weight : array_like, optional
            Which values the statistics are of, and how much each counts: as in
            `bn.position_weights`. All values are normalized; what is not finite and does not count
            is taken as 0. A channel of which no value counts has mean and variance 0 in training,
            with a `SmallBatchWarning`, and its running statistics stay.
        """
        axis = self.prepare(x)
        weights = None
        if mask is not None or lengths is not None or sample_weight is not None:
            weights = position_weights(x, axis, mask, lengths, sample_weight)
        training = self._mode(training)
        uses_batch = self._begin(x, axis, training, weights)
        if weights is not None:
            x = clean(x, weights)
        if uses_batch:
            y, call = self.normalize(x, axis, weights)
        else:
            y, call = self.normalize_with_running(x, axis)
        batch = call.batch
        if batch is None and self.lets_in(training):
            batch = self.statistics(x, axis, weights)
        if is_watched(self):
            self.show(x, y, stats(x, axis, weights=weights) if batch is None else batch)
        if batch is not None:
            values = None
            if weights is not None and x.size > 0 and self.combining() is None:
                values = _values(x, axis, weights)
            self.observe(batch, training, values=values)
        self.keep(y, call)
        return y

    def defer(self, x: Array, *, training: bool | None = None, **options: Any) -> Waiting | None:
        """`forward`, but for y, which waits for the layers that follow; None for unusual calls."""
        usual = not self.corrects and self.train_affine
        if options or not usual or is_watched(self):
            return None
        training = self._mode(training)
        if self._takes_statistics(training) and self.combining() is not None:
            return None
        axis = self.prepare(x)
        if self._begin(x, axis, training, None):
            eps = self.convention.kernel_eps(self.eps)
            call = Call(x, axis, eps, self.statistics(x, axis))
        else:
            mean, var, eps = self.normalizing()
            call = Call(x, axis, eps, None, (mean.copy(), var.copy()))
        batch = call.batch
        if batch is None and self.lets_in(training):
            batch = self.statistics(x, axis)
        if batch is not None:
            self.observe(batch, training)
        y = Normalization(self, call)
        self.keep(y, call)
        return y

    def _mode(self, training: bool | None) -> bool:
        """Whether a call is in training, to which it may say so itself."""
        if training is None:
            return self.training
        _check.optional_flag("training", training)
        return training

    def _begin(self, x: Array, axis: int, training: bool, weights: Array | None) -> bool:
        """Get ready for a batch; whether its statistics normalize it."""
        uses_batch = self.uses_batch_stats(training)
        single = uses_batch and weights is None and x.size == x.shape[axis]
        if single and self.combining() is None:  # otherwise other parts may have more
            _check.enough_values(x, axis)
        self.build_channels(x.shape[axis])
        self.running.settle()
        return uses_batch

    def prepare(self, x: Array) -> int:
        """Check x against this layer; the channel axis, counted from the front.

        Parameters
        ----------
        x : ndarray
            A batch.

        Returns
        -------
        int

        Raises
        ------
        TypeError, ValueError
            x has not the dtype, the number of axes or the channels that the layer takes.
        """
        mean, var = self.running.mean, self.running.var
        axis = core.fits(x, self.axis, (), (mean, var))
        right_pair = (mean is None) == (var is None)
        right_rank = axis >= 0 and (not self.ranks or x.ndim in self.ranks)
        if right_rank and right_pair and x.shape[axis] == self.num_features:
            return axis  # the usual call; what is wrong with another one is found out below
        name = type(self).__name__
        if isinstance(x, np.ndarray):  # first: PyTorch's sentence for 0 and 1 axes too
            _check.batch_rank(name, x.ndim, self.ranks)
        axis = _check.data(x, self.axis, f"x of {name}")
        _check.running_pair(mean, var, needed=False)
        if self.num_features is not None:
            _check.channel_count(name, x, axis, self.num_features)
        return axis

    def uses_batch_stats(self, training: bool) -> bool:
        """Whether the batch's statistics normalize; without running ones they have to."""
        wanted = training if self.use_batch_stats is None else self.use_batch_stats
        awaited = self.has_running and self.num_features is None
        return wanted or not (awaited or self.running.mean is not None)

    def lets_in(self, training: bool) -> bool:
        """Whether a batch of this mode enters the running statistics."""
        if self.update_stats is None:
            return training and self.uses_batch_stats(training) and self.tracks
        return self.update_stats and self.tracks

    def _takes_statistics(self, training: bool) -> bool:
        """Whether a call of this mode needs the statistics of its batch."""
        return self.uses_batch_stats(training) or self.lets_in(training)

    def reads_again(self) -> bool:
        return self._takes_statistics(self.training)

    @property
    def tracks(self) -> bool:
        """Whether there are running statistics for batches to enter."""
        awaited = self.has_running and self.num_features is None
        return awaited or self.running.mean is not None

    @property
    def corrects(self) -> bool:
        """Whether outputs are more than x̂·weight + bias: batch renormalization, Darknet."""
        return self.convention.eps_outside_root

    def correction(self, batch: Stats) -> Correction | None:
        """What makes the output of the normalized values x̂, beside weight and bias; or None."""
        return self.convention.correction(batch, self.eps)

    def combining(self) -> Combine | None:
        """What combines the statistics of a call: the layer's own `combine`, or a block's."""
        if self.combine is not None:
            return self.combine
        held = combiner.get()
        return None if held is None else held[0](self)

    def statistics(self, x: Array, axis: int, weights: Array | None = None) -> Stats:
        """The statistics of a batch, of which x may be a part.

        Parameters
        ----------
        x : ndarray
        axis : int
            What `prepare` returned.
        weights : ndarray, optional
            As in `bn.stats`.

        Returns
        -------
        Stats

        Raises
        ------
        ValueError
            All parts together have a single value per channel.
        """
        part = stats(x, axis, weights=weights)
        combine = self.combining()
        if combine is None:
            return part
        batch: Stats = combine(part)
        if weights is None:
            _check.enough_merged(batch.count)
        return batch

    def apply(
        self,
        x: Array,
        batch: Stats,
        axis: int,
        correction: Correction | None = None,
        out: Array | None = None,
    ) -> Array:
        """Normalize x with the statistics of a batch.

        Parameters
        ----------
        x : ndarray
        batch : Stats
            What `statistics` returned.
        axis : int
            What `prepare` returned.
        correction : Correction, optional
            What `correction` returned for this batch, before it entered the running statistics.
        out : ndarray, optional
            Where to put y.

        Returns
        -------
        ndarray
        """
        weight, bias = self.affine_arrays()
        if correction is not None:
            weight, bias = correction.affine(weight, bias)
        eps = self.convention.kernel_eps(self.eps)
        return normalize(x, batch.mean, batch.var, weight, bias, eps, axis=axis, out=out)

    def normalize(
        self, x: Array, axis: int, weights: Array | None = None, out: Array | None = None
    ) -> tuple[Array, Call]:
        """`statistics`, then `apply` with them; in one pass over x where nothing comes between.

        Parameters
        ----------
        x, axis, weights, out
            As in `statistics` and `apply`.

        Returns
        -------
        y : ndarray
        call : Call
            For `gradient`.
        """
        eps = self.convention.kernel_eps(self.eps)
        combine = self.combining()
        if self._takes_one_pass(weights, combine):
            y, batch = normalize_batch(x, *self.affine_arrays(), eps, axis=axis, out=out)
            return y, Call(x, axis, eps, batch)
        batch = self.statistics(x, axis, weights)
        correction = self.correction(batch)
        y = self.apply(x, batch, axis, correction, out)
        return y, Call(x, axis, eps, batch, None, weights, correction, combine)

    def _takes_one_pass(self, weights: Array | None, combine: Combine | None) -> bool:
        return weights is None and combine is None and not self.corrects

    def normalize_with_running(self, x: Array, axis: int) -> tuple[Array, Call]:
        """Normalize x with the running statistics, as in eval mode."""
        mean, var, eps = self.normalizing()
        y = normalize(x, mean, var, *self.affine_arrays(), eps, axis=axis)
        # copies, because a later batch changes the running statistics in place
        return y, Call(x, axis, eps, None, (mean.copy(), var.copy()))

    def normalizing(self) -> tuple[Array, Array, float]:
        """The mean, var and eps of ``(x - mean) / sqrt(var + eps)`` in eval mode."""
        assert self.running.mean is not None and self.running.var is not None
        var = self.convention.kernel_var(self.running.var, self.eps)
        return self.running.mean, var, self.convention.kernel_eps(self.eps)

    def show(self, x: Array, y: Array, batch: Stats) -> None:
        """Tell the `bn.watching` blocks that hold for this layer of one forward pass.

        `forward` does so; a wrapper that calls the other steps itself does it before `observe`.

        Parameters
        ----------
        x, y : ndarray
            Input and output.
        batch : Stats
            The statistics of x.
        """
        tell_watchers(self, x, y, batch)

    def observe(self, batch: Stats, training: bool = True, *, values: Array | None = None) -> None:
        """Let the statistics of a batch into the running ones, if this mode lets them in.

        Parameters
        ----------
        batch : Stats
        training : bool
        values : ndarray, optional
            The number of values behind each channel, where weights make ``batch.count`` a Σw; not
            given for an empty batch, about which there is no warning.
        """
        _check.flag("training", training)
        any_values = _any_positive(batch.count)
        if not updates_allowed() or not (any_values or values is not None):
            return
        lets_in = self.lets_in(training)
        if training and not self._warned and (lets_in or self.uses_batch_stats(training)):
            self._warn_of_few(batch.count if values is None else values)
        if lets_in and any_values:
            self.running.update(batch, self)

    def _warn_of_few(self, values: Array) -> None:
        few = values.item(0)
        if few != values.item(-1):
            few = values.min()
        if few < FEW_VALUES:
            self._warned = True
            message = _check.few_values(repr(self), few, FEW_VALUES)
            warn(SmallBatchWarning, message if few > 0 else _check.no_values(repr(self)))

    # ---- backward ----

    def backward(self, dy: Array) -> Array:
        """Gradient of x; those of weight and bias are added to their ``grad``."""
        (call,) = self.take(dy)
        dx, sums = self.gradient(dy, call)
        self.add_gradients(*self.affine_gradients(call, sums))
        return dx

    def gradient(
        self, dy: Array, call: Call, out: Array | None = None
    ) -> tuple[Array, BackwardSums]:
        """Gradient of the input of one call of `normalize`.

        Parameters
        ----------
        dy : ndarray
            Gradient of its output.
        call : Call
            What it returned.
        out : ndarray, optional
            Where to put dx.

        Returns
        -------
        dx : ndarray
        sums : BackwardSums
            Of x, for `affine_gradients`.
        """
        weight, _ = self.affine_arrays()
        x, axis, eps = call.x, call.axis, call.eps
        if call.batch is not None and self._takes_one_pass(call.weights, call.combine):
            return backward_batch(dy, x, call.batch, weight, eps, axis=axis, out=out)
        sums = backward_reduce(dy, x, call.mean, axis=axis)
        whole = None
        if call.batch is not None:
            of_all = sums if call.combine is None else call.combine(sums)
            whole = BackwardSums(call.batch.count, of_all.dy, of_all.dy_xmu)
        if call.correction is not None and whole is not None:
            weight, whole = call.correction.affine(weight, None)[0], call.correction.sums(whole)
        dx = backward_apply(
            dy, x, call.mean, call.var, weight, eps, whole,
            axis=axis, weights=call.weights, out=out,
        )  # fmt: skip
        return dx, sums

    def affine_gradients(self, call: Call, sums: BackwardSums) -> tuple[Doubles, Doubles]:
        """The gradients of weight and bias, given the sums of a call's backward pass."""
        if call.x.size == 0:  # no value, no gradient, whatever the running variance is
            return sums.dy_xmu, sums.dbias
        dweight = sums.dweight(call.var, call.eps)
        if call.correction is not None:
            dweight = call.correction.dweight(dweight, sums)
        return dweight, sums.dbias

    def add_gradients(self, dweight: Doubles, dbias: Doubles) -> None:
        """Add to the ``grad`` of weight and bias, where there are some and they train."""
        if self.weight is not None and self.train_affine:
            self.weight.accumulate(dweight)
        if self.bias is not None and self.train_affine:
            self.bias.accumulate(dbias)

    # ---- state ----

    def affine_arrays(self) -> tuple[Array | None, Array | None]:
        """The arrays of weight and bias; None where there is none."""
        return _data(self.weight), _data(self.bias)

    def trains(self, parameter: Parameter) -> bool:
        return self.train_affine and parameter.trainable

    @property
    def trainable(self) -> bool:
        """Keras's word: False normalizes with the running statistics and changes nothing."""
        return self.train_affine

    @trainable.setter
    def trainable(self, value: bool) -> None:
        _check.flag("trainable", value)
        self.train_affine = value
        self.use_batch_stats = self.update_stats = None if value else False

    def rollback(self) -> Self:
        """Take the last batch out of the running statistics; see `RunningStats.rollback`."""
        self.running.rollback()
        return self

    def attribute_dicts(self) -> list[dict[str, Any]]:
        return [vars(self), vars(self.running)]

    def set_running(self, mean: Array, var: Array, where: Array | bool = True) -> None:
        """Set the running statistics, of the channels where `where` is true."""
        self.running.assign(mean, var, where)

    def further_state(self) -> dict[str, Array]:
        return self.running.further_state()

    def loading(self, names: set[str]) -> list[tuple[Array, Array]]:
        parts = {"running_mean": "mean", "running_var": "var", "num_batches_tracked": "count"}
        loaded = {part for name, part in parts.items() if self.state_names.get(name, name) in names}
        return self.running.loading(loaded)

    def __copy__(self) -> Self:
        """A layer that shares the arrays, but not how batches enter them."""
        twin = object.__new__(type(self))
        vars(twin).update(vars(self), running=copy.copy(self.running))
        return twin

    def choices(self) -> str:
        """What a repr says of attributes that are not as they were made."""
        always_said = {"eps", "momentum"}
        values = {**changed(self), **changed(self.running)}
        return "".join(f", {k}={v!r}" for k, v in values.items() if k not in always_said)


def batch_norms(model: Module) -> Iterator[tuple[str, BatchNorm]]:
    """(dotted path, layer) of the batch normalization layers in a model, each once."""
    _check.instance("model", model, Module)
    for path, layer in model.named_modules():
        if isinstance(layer, BatchNorm):
            yield path or type(layer).__name__, layer


def _data(parameter: Parameter | None) -> Array | None:
    if parameter is None:
        return None
    if type(parameter) is not Parameter:
        _check.instance("weight and bias", parameter, Parameter)
    return parameter.data


def _any_positive(counts: Array) -> bool:
    return counts.size > 0 and (counts.item(0) > 0 or bool(counts.any()))


def _values(x: Array, axis: int, weights: Array) -> Array:
    """How many values of each channel count at all."""
    others = tuple(i for i in range(x.ndim) if i != axis)
    counts: Array = np.count_nonzero(np.broadcast_to(weights, x.shape), axis=others)
    return counts
