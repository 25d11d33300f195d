"""The one batch normalization layer; the families add names, defaults and conventions to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bn import _check
from bn.functional import (
    backward_apply,
    backward_batch,
    backward_reduce,
    normalize,
    normalize_batch,
    stats,
)
from bn.layers.checked_attribute import Choice, choices
from bn.layers.convention import Convention
from bn.layers.running_stats import Tracking
from bn.masking import clean, position_weights
from bn.module import Array, Module, Parameter, Shape, copy_all
from bn.statistics import BackwardSums, Doubles, Stats

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Correction:
    """``y = (x̂·r + d)·weight + bias``, where r and d are not 1 and 0.

    `slope` is what r's own dependence on x makes of the term of x̂ in dx; 1 where r is a constant.
    """

    r: Doubles
    d: Doubles
    slope: Doubles


class BatchNorm(Tracking):
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
    momentum, nonfinite, nonfinite_batches, start
        How batches enter the running statistics.

        momentum : float or None
            In the convention's meaning; None averages all batches alike.
        nonfinite : {"skip", "raise", "propagate"}
            What happens to a channel whose batch has an inf or NaN.
        nonfinite_batches : ndarray of int64, shape (C,)
            How many of them each channel has seen.
        start : {"plain", "debiased", "first", "cumulative"}
            How the first batches count: with their share; with it but for that of the initial 0 and
            1; the first taken whole; all alike.
    """

    _ranks: ClassVar[tuple[int, ...]] = ()  # numbers of axes that x may have; () for any
    if TYPE_CHECKING:
        use_batch_stats: bool | None
        train_affine: bool
    else:
        use_batch_stats = Choice(None, _check.optional_flag)
        train_affine = Choice(True, _check.flag)

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
        super().__init__(convention, momentum)
        self.num_features: int | None = None
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
        vars(self).update(self._made(channels))  # all at once, whatever interrupts it

    def _made(self, channels: int) -> dict[str, object]:
        """The attributes of a layer that has so many channels."""
        made: dict[str, object] = {
            name: Parameter(array) if name in ("weight", "bias") else array
            for name, array in self._initial_arrays(channels).items()
        }
        if "running_mean" in made:
            made["num_batches_tracked"] = np.array(0, np.int64)
        return {**made, "nonfinite_batches": np.zeros(channels, np.int64), "num_features": channels}

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
        self._change = None
        copy_all(self._restart())
        return self

    def _restart(self) -> list[tuple[Array, Array]]:
        """(array, its initial value) of the running statistics."""
        pairs = [
            (getattr(self, name), value)
            for name, value in self._initial_arrays(self.num_features).items()
            if name not in ("weight", "bias")
        ]
        if self.num_batches_tracked is not None:
            pairs.append((self.num_batches_tracked, np.zeros_like(self.num_batches_tracked)))
        return [*pairs, (self._settled, np.array(False))]

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
            _check.channel_count("x", x, axis, self.num_features)
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
        self._change = None
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
        if self.update_stats:
            batch = stats(x, axis, weights=weights)
            if batch.count.any():
                self.observe(batch, training)
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

    @property
    def trainable(self) -> bool:
        """Keras's word: False normalizes with the running statistics and changes nothing."""
        return self.train_affine

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.train_affine = value
        self.use_batch_stats = self.update_stats = None if value else False

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
