"""The one batch normalization layer; the families add names, defaults and conventions to it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bn import _check
from bn._module import Array, Module, Parameter, Shape
from bn.functional import (
    backward_apply,
    backward_batch,
    backward_reduce,
    normalize,
    normalize_batch,
    stats,
)
from bn.layers.choice import Choice, choices
from bn.layers.convention import Convention, share_at
from bn.layers.updates import updates_allowed
from bn.values import BackwardSums, Doubles, Stats, commit
from bn.weights import clean, position_weights

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


@dataclass(frozen=True)
class Correction:
    """``y = (x̂·r + d)·weight + bias``, where r and d are not 1 and 0.

    `slope` is what r's own dependence on x makes of the term of x̂ in dx; 1 where r is a constant.
    """

    r: Doubles
    d: Doubles
    slope: Doubles


class BatchNorm(Module):
    """Statistics → normalize → commit, and back.

    Between forward and backward it keeps x itself and O(C) numbers. A family says in `convention`
    how a batch enters the running statistics.

    Attributes
    ----------
    use_batch_stats, update_stats : bool or None
        Normalize with the batch's statistics; let it into the running ones. None follows
        `train` and `eval`.
    train_affine : bool
        Let `backward` add to the gradients of weight and bias.
    nonfinite : {"skip", "raise", "propagate"}
        What happens to the running statistics of a channel whose batch has an inf or NaN.
    nonfinite_batches : ndarray of int64, shape (C,)
        How many of them each channel has seen.
    start : {"plain", "debiased", "first", "cumulative"}
        How the first batches count; see `bn.layers.convention.share_at`.
    """

    _ranks: ClassVar[tuple[int, ...]] = ()  # numbers of axes that x may have; () for any
    _moved: ClassVar[tuple[str, ...]] = (  # what a batch changes
        "running_mean",
        "running_var",
        "num_batches_tracked",
    )
    if TYPE_CHECKING:
        momentum: float | None
        use_batch_stats: bool | None
        update_stats: bool | None
        train_affine: bool
        nonfinite: str
        start: str
    else:
        momentum = Choice(None, _check.momentum)
        use_batch_stats = Choice(None, _check.optional_flag)
        update_stats = Choice(None, _check.optional_flag)
        train_affine = Choice(True, _check.flag)
        nonfinite = Choice("skip", _check.nonfinite)
        start = Choice("plain", _check.start)

    def __init__(
        self,
        convention: Convention,
        num_features: int | None,
        momentum: float | None,
        eps: float,
        axis: int,
        dtype: DTypeLike,
        *,
        scale: bool = True,
        center: bool = True,
        tracked: bool = True,
    ) -> None:
        _check.integer("axis", axis)
        if num_features is not None:
            _check.positive_int("num_features", num_features)
        for name, choice in choices(type(self)).items():
            vars(self)[name] = choice.default
        self.convention = convention
        self.num_features: int | None = None
        self.momentum = momentum
        self.eps = eps
        self.axis = axis
        self.dtype = _check.floating_dtype(dtype)
        self._has = {
            "weight": scale,
            "bias": center,
            "running_mean": tracked,
            "running_var": tracked,
        }
        self.weight: Parameter | None = None
        self.bias: Parameter | None = None
        self.running_mean: Array | None = None
        self.running_var: Array | None = None
        self.num_batches_tracked: Array | None = None
        self.nonfinite_batches: Array | None = None
        self._settled = False  # the statistics were set, by nobody knows how many batches
        self._warned: set[type[Warning]] = set()
        self._before: list[tuple[Array, Array]] = []  # what a batch changed, and what it held
        if num_features is not None:
            self._build(num_features)

    # ---- channels: known, or learned from the first input ----

    def build(self, input_shape: Shape) -> None:
        """Create parameters and statistics for inputs of this shape (without the batch axis)."""
        channels = _check.unbatched_channels(input_shape, self.axis, self.num_features)
        _check.batch_rank(len(input_shape) + 1, self._ranks)
        if self.num_features is None:
            self._build(channels)

    def _build(self, channels: int) -> None:
        made = self._initial_arrays(channels)
        if "weight" in made:
            self.weight = Parameter(made["weight"])
        if "bias" in made:
            self.bias = Parameter(made["bias"])
        if "running_mean" in made:
            self.running_mean, self.running_var = made["running_mean"], made["running_var"]
            self.num_batches_tracked = np.array(0, np.int64)
        self.nonfinite_batches = np.zeros(channels, np.int64)
        self.num_features = channels

    def _initial_arrays(self, channels: int | None) -> dict[str, Array]:
        """What the arrays begin with, by attribute; nothing before the channels are known."""
        if channels is None:
            return {}
        return {name: self._initial(name, channels) for name, has in self._has.items() if has}

    def _initial(self, name: str, channels: int) -> Array:
        one = name in ("weight", "running_var")
        return np.full(channels, float(one), self.dtype)

    def reset_running_stats(self) -> Self:
        """Begin the running statistics anew."""
        for name, value in self._initial_arrays(self.num_features).items():
            if name not in ("weight", "bias"):
                getattr(self, name)[...] = value
        if self.num_batches_tracked is not None:
            self.num_batches_tracked[...] = 0
        self._before, self._settled = [], False
        return self

    def reset_parameters(self) -> Self:
        """Begin all anew: parameters and running statistics."""
        self.reset_running_stats()
        for name, value in self._initial_arrays(self.num_features).items():
            if name in ("weight", "bias"):
                getattr(self, name).data[...] = value
        return self

    def _own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        _check.built(type(self).__name__, self.num_features is not None)
        return super()._own_parameters()

    def _prepare(self, x: Array) -> int:
        """Check x against this layer; the channel axis, counted from the front."""
        if isinstance(x, np.ndarray):  # first: PyTorch's sentence for 0 and 1 axes too
            _check.batch_rank(x.ndim, self._ranks)
        axis = _check.data(x, self.axis)
        _check.running_pair(self.running_mean, self.running_var, needed=False)
        if self.num_features is not None:
            _check.size("x", x, axis, self.num_features)
        return axis

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.unbatched_channels(input_shape, self.axis, self.num_features)
        _check.batch_rank(len(input_shape) + 1, self._ranks)
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
            is taken as 0.
        """
        axis = self._prepare(x)
        weights = position_weights(x, axis, mask, lengths, sample_weight)
        training = self.training if training is None else training
        batch_mode = self._takes_batch(training)
        self._before = []
        if batch_mode and weights is None:
            _check.enough_values(x, axis)
        if self.num_features is None:
            self._build(x.shape[axis])
        x = clean(x, weights)
        if batch_mode:
            return self._forward_batch(x, axis, weights, training)
        mean, var, eps = self._running()
        y = normalize(x, mean, var, *self.affine_arrays(), eps, axis=axis)
        # copies: a later batch changes the running statistics in place
        self._keep(y, x, axis, None, None, None, (mean.copy(), var.copy(), eps))
        if self.update_stats and x.size:
            self.observe(stats(x, axis, weights=weights), training)
        return y

    def _takes_batch(self, training: bool) -> bool:
        """Whether the batch's statistics normalize; without running ones they have to."""
        wanted = training if self.use_batch_stats is None else self.use_batch_stats
        tracked = self._has["running_mean"] and self.num_features is None
        return wanted or not (tracked or self.running_mean is not None)

    def _forward_batch(self, x: Array, axis: int, weights: Array | None, training: bool) -> Array:
        weight, bias = self.affine_arrays()
        correction = None
        if weights is None and not self._corrects():
            y, batch = normalize_batch(x, weight, bias, self._eps, axis=axis)
        else:
            batch = stats(x, axis, weights=weights)
            correction = self._correction(batch)
            weight, bias = _corrected(weight, bias, correction)
            y = normalize(x, batch.mean, batch.var, weight, bias, self._eps, axis=axis)
        if x.size and (weights is None or batch.count.any()):
            values = None if weights is None else _values(x, axis, weights)
            self.observe(batch, training, values=values)
        self._keep(y, x, axis, weights, batch, correction, None)
        return y

    def _running(self) -> tuple[Array, Array, float]:
        """What normalizes in eval mode: mean, var and eps."""
        assert self.running_mean is not None and self.running_var is not None
        if self.convention.darknet:  # sqrt(var) + eps
            std = np.sqrt(self.running_var, dtype=np.float64) + self.eps
            return self.running_mean, std * std, 0.0
        return self.running_mean, self.running_var, self.eps

    @property
    def _eps(self) -> float:
        return 0.0 if self.convention.darknet else self.eps

    def _corrects(self) -> bool:
        return self.convention.darknet

    def _correction(self, batch: Stats) -> Correction | None:
        if not self.convention.darknet:
            return None
        std = np.sqrt(batch.unbiased_var)
        r = np.sqrt(batch.var) / (std + self.eps)
        return Correction(r, np.zeros_like(r), std / (std + self.eps))

    # ---- running statistics ----

    def observe(self, batch: Stats, training: bool = True, *, values: Array | None = None) -> None:
        """Let the statistics of a batch (with values) into the running ones, if that is allowed.

        `values` is of how many values each channel's are, where that is not the batch's count.
        """
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
            self._warn(NonFiniteWarning, _check.nonfinite_skipped(repr(self), np.flatnonzero(bad)))

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

    @property
    def trainable(self) -> bool:
        """Keras's word: False normalizes with the running statistics and changes nothing."""
        return self.train_affine

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.train_affine = value
        self.use_batch_stats = self.update_stats = None if value else False

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

    # ---- backward ----

    def backward(self, dy: Array) -> Array:
        """Gradient of x; those of weight and bias are added to their ``grad``."""
        x, axis, weights, batch, correction, running = self._take(dy)
        weight, _ = self.affine_arrays()
        if batch is None:
            mean, var, eps = running
            sums = backward_reduce(dy, x, mean, axis=axis)
            dx = backward_apply(dy, x, mean, var, weight, eps, axis=axis)
            self._add_gradients(sums.dweight(var, eps), sums.dbias)
            return dx
        if weights is None and correction is None:
            dx, sums = backward_batch(dy, x, batch, weight, self._eps, axis=axis)
            self._add_gradients(sums.dweight(batch.var, self._eps), sums.dbias)
            return dx
        sums = backward_reduce(dy, x, batch.mean, axis=axis)
        dweight = sums.dweight(batch.var, self._eps)
        slope = sums.dy_xmu
        if correction is not None:
            dweight = dweight * correction.r + sums.dy * correction.d
            slope = slope * correction.slope
        scale, _ = _corrected(weight, None, correction)
        dx = backward_apply(
            dy, x, batch.mean, batch.var, scale, self._eps,
            BackwardSums(batch.count, sums.dy, slope), axis=axis, weights=weights,
        )  # fmt: skip
        self._add_gradients(dweight, sums.dbias)
        return dx

    def _chosen(self) -> str:
        """What a repr says of attributes that are not as they were made."""
        words = ""
        for name, choice in choices(type(self)).items():
            value = getattr(self, name)
            if name != "momentum" and value != choice.default:
                words += f", {name}={value!r}"
        return words

    def affine_arrays(self) -> tuple[Array | None, Array | None]:
        """The arrays of weight and bias; None where there is none."""
        return _data(self.weight), _data(self.bias)

    def _add_gradients(self, dweight: Doubles, dbias: Doubles) -> None:
        if self.weight is not None and self.train_affine:
            self.weight.accumulate(dweight)
        if self.bias is not None and self.train_affine:
            self.bias.accumulate(dbias)


def batch_norms(model: Module) -> Iterator[tuple[str, BatchNorm]]:
    """(dotted path, layer) of the batch normalization layers in a model, each once."""
    _check.instance("model", model, Module)
    seen = set()
    for name, module in _named(model, ""):
        if isinstance(module, BatchNorm) and id(module) not in seen:
            seen.add(id(module))
            yield name or type(module).__name__, module


def _named(module: Module, name: str) -> Iterator[tuple[str, Module]]:
    yield name, module
    for key, child in module.children():
        yield from _named(child, f"{name}.{key}" if name else key)


def _levels_to_the_caller() -> int:
    """How far up the first frame outside of `bn` is, from the caller of this."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("bn."):
        level, frame = level + 1, frame.f_back
    return level


def _data(parameter: Parameter | None) -> Array | None:
    if parameter is None:
        return None
    if type(parameter) is not Parameter:
        _check.instance("weight and bias", parameter, Parameter)
    return parameter.data


def _values(x: Array, axis: int, weights: Array) -> Array:
    """How many values of each channel count at all."""
    others = tuple(i for i in range(x.ndim) if i != axis)
    counts: Array = np.count_nonzero(np.broadcast_to(weights, x.shape), axis=others)
    return counts


def _corrected(
    weight: Array | None, bias: Array | None, correction: Correction | None
) -> tuple[Array | None, Array | None]:
    """The weight and bias that make ``x̂·weight + bias`` of ``(x̂·r + d)·weight + bias``."""
    if correction is None:
        return weight, bias
    scale = 1.0 if weight is None else weight
    return correction.r * scale, correction.d * scale + (0 if bias is None else bias)
