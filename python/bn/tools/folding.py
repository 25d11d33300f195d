"""Fold batch normalizations into the convolutions and linear layers before them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bn import _check
from bn._core import core
from bn.arrays import takes_arrays
from bn.layers.batch_norm import BatchNorm
from bn.layers.running_stats import warn
from bn.module import Module
from bn.nn.containers import Sequential
from bn.nn.conv_base import ConvNd
from bn.nn.conv_transpose import ConvTranspose2d
from bn.nn.linear import Linear
from bn.nn.weight_standardization import WeightStandardization
from bn.parameter import Parameter
from bn.tools.rewriting import Step, record_of, steps, take_out, used_once
from bn.types import Array, Doubles, Shape

LIMIT = 1e-9  # of the difference between a pair and its fold, in float64

UNKNOWN = "what comes before it is not known: give input_shape, or run a batch through the model"
NOT_CALLED = "no forward of a model calls it"
NO_LAYER = "no convolution or linear layer directly before it"
SHARED = "it, or the layer before it, is used elsewhere too"
NOT_BUILT = "it is not built: run one batch through the model, or call model.build(input_shape)"
NO_STATISTICS = "it has no running statistics"
BATCH_STATISTICS = "it normalizes with the batch's statistics: use_batch_stats is True"
TRAINING = "it is in training mode: call eval() first"
OTHER_AXIS = "its channel axis is not that of the layer before it, or not for every input"
TRANSPOSED_GROUPS = "the transposed convolution before it has groups"
OTHER_CHANNELS = "it has not as many channels as the layer before it"
NOT_FINITE = "the folded weight and bias would not be finite"


@dataclass(frozen=True, eq=False)
class Folded:
    """What `fold` returns; its repr says what was folded, what was kept, and why.

    Attributes
    ----------
    model : Module
        A copy of the model, with fewer layers.
    folded : tuple of (str, str)
        The names of the layers and of the batch normalizations that were folded into them, in the
        original model: dotted paths, as in `Module.named_parameters`.
    kept : mapping of str to str
        The name of each other batch normalization, and why it was kept.
    error : float
        The largest difference between a fold and its two layers, in float64, relative to
        max(1, abs(y)); 0 if nothing was folded.

    Examples
    --------
    >>> from bn import BatchNorm1d, nn
    >>> norm = BatchNorm1d(2, track_running_stats=False)
    >>> print(fold(nn.Sequential(nn.Linear(2, 2, rng=0), norm).eval()))
    0 folded, largest difference 0.0e+00 in float64
    1 kept
      1: it has no running statistics
    """

    model: Module
    folded: tuple[tuple[str, str], ...]
    kept: Mapping[str, str]
    error: float

    def __str__(self) -> str:
        lines = [f"{len(self.folded)} folded, largest difference {self.error:.1e} in float64"]
        lines += [f"  {norm} into {layer}" for layer, norm in self.folded]
        lines += [f"{len(self.kept)} kept"]
        lines += [f"  {norm or 'the model'}: {reason}" for norm, reason in self.kept.items()]
        return "\n".join(lines)

    __repr__ = __str__


@takes_arrays
def fold_arrays(
    weight: Array,
    bias: Array | None,
    running_mean: Array,
    running_var: Array,
    bn_weight: Array | None = None,
    bn_bias: Array | None = None,
    eps: float = 1e-5,
    *,
    axis: int = 0,
) -> tuple[Array, Array]:
    """Weight and bias of a layer that does what a layer and a batch normalization did.

    With ``scale = bn_weight / sqrt(running_var + eps)`` for each output channel:
    ``weight' = weight·scale`` and ``bias' = (bias - running_mean)·scale + bn_bias``. Computed in
    float64; where running_var + eps is 0, the scale is 0, as in `bn.normalize`.

    Parameters
    ----------
    weight : ndarray of float32 or float64, at least 2 axes
        Of any convolution or linear layer, with C output channels on `axis`.
    bias : ndarray of float32 or float64, shape (C,), or None
        None stands for 0.
    running_mean, running_var : ndarray of float32 or float64, shape (C,)
        The statistics that normalize in eval mode.
    bn_weight, bn_bias : ndarray of float32 or float64, shape (C,), optional
        Scale and shift of the batch normalization; None stands for 1 and 0.
    eps : float, default 1e-5
        Added to the variance; at least 0.
    axis : int, default 0
        The axis of the output channels in weight: 0 for convolutions, (C, C_in / groups, kh, kw),
        and linear layers, (C, C_in); 1 for transposed convolutions without groups,
        (C_in, C, kh, kw).

    Returns
    -------
    weight, bias : ndarray
        New arrays of weight's dtype, of weight's shape and (C,).

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape, an axis or eps is not as above, or a result is not finite in weight's
        dtype.

    References
    ----------
    ``torch.nn.utils.fusion.fuse_conv_bn_weights``.

    Examples
    --------
    >>> mean, var = np.array([1.0]), np.array([4.0])
    >>> fold_arrays(np.array([[6.0, 8.0]]), None, mean, var, eps=0.0)
    (array([[3., 4.]]), array([-0.5]))
    """
    needed = {"running_mean": running_mean, "running_var": running_var}
    optional = {"bias": bias, "bn_weight": bn_weight, "bn_bias": bn_bias}
    axis = _check.foldable(weight, axis, needed, optional, eps)
    new = _folded(weight, bias, running_mean, running_var, bn_weight, bn_bias, eps, axis)
    for name, array in zip(("folded weight", "folded bias"), new, strict=True):
        _check.folded_fits(name, array, weight.dtype)
    return new[0].astype(weight.dtype), new[1].astype(weight.dtype)


def fold(model: Module, input_shape: Shape | None = None) -> Folded:
    """A copy of a model without the batch normalizations that its other layers can take over.

    In eval mode a batch normalization is a scale and a shift of each channel. One that gets the
    output of a convolution or a `bn.nn.Linear`, which nothing else gets, is folded into that layer
    by `fold_arrays`, but for transposed convolutions with groups. A `bn.nn.WeightStandardization`
    first becomes the layer in it, with the standardized weight. A `bn.nn.Sequential` loses the
    batch normalization, and the layers behind move up; elsewhere a `bn.nn.Identity` stands in its
    place, so that all other names stay. Outputs stay the same to the rounding of the parameters'
    dtype. All others are kept, and `Folded.kept` says why.

    Each fold is checked on random numbers: in float64 it must give what its two layers gave.

    Parameters
    ----------
    model : Module
        It is not changed. The batch normalizations must be in eval mode, or have
        ``use_batch_stats=False``.
    input_shape : tuple of int, optional
        The shape of one input, without the batch axis: a model's forward is then run on shapes
        alone, to see which layer follows which. None takes the record of the last forward pass, if
        no backward pass has used it; without one, the order in each `Sequential` is all that is
        known.

    Returns
    -------
    Folded
        ``.model``, ``.folded``, ``.kept`` and ``.error``.

    Raises
    ------
    TypeError
        `model` is not a Module.
    ValueError
        `input_shape` does not fit the model.
    RuntimeError
        A fold does not give what its two layers gave: a subclass computes something else, or
        float64 has too few digits for the numbers.

    Warns
    -----
    UserWarning
        Batch normalizations were kept because what comes before them is not known.

    Notes
    -----
    What follows what is taken from one forward pass. A model whose forward goes other ways for
    other data or arguments, or reads the parameters of its layers, may give other outputs on those
    ways when it is folded.

    A `Linear` has its channels on the last axis. A `BatchNorm1d` after it with channels on axis 1
    is taken to get (N, C), as it does after `Flatten`. With (N, L, C) it would normalize L, and
    must not be folded; the layers themselves do not say which of the two they will get. A layer
    that takes any number of axes, such as `BatchNormalization`, folds into a `Linear` with
    ``axis=-1`` only.

    References
    ----------
    ``torch.nn.utils.fusion``; Jacob et al., "Quantization and training of neural networks for
    efficient integer-arithmetic-only inference", 2018, section 3.2.

    Examples
    --------
    >>> from bn import nn
    >>> from bn.layers import BatchNorm2d
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), BatchNorm2d(8), nn.ReLU())
    >>> result = fold(model.eval())
    >>> result.folded, result.kept
    ((('0', '1'),), {})
    >>> result.model
    Sequential(
      (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
      (1): ReLU()
    )
    """
    return fold_for("fold", model, input_shape)


def fold_for(user: str, model: Module, input_shape: Shape | None) -> Folded:
    """`fold`, for a function of `bn` of this name, which the warnings are to name.

    Examples
    --------
    >>> from bn import nn
    >>> fold_for("compile", nn.Sequential(nn.Linear(2, 2)), None).kept
    {}
    """
    _check.instance("model", model, Module)
    record = record_of(model, input_shape)
    order = steps(model, record)
    once = used_once(model, order)
    alone = {path for path, layer in model.named_modules() if id(layer) in once}
    model = copy.deepcopy(model)
    layers = dict(model.named_modules(remove_duplicate=False))
    reason = UNKNOWN if record is None else NOT_CALLED
    kept = {path: reason for path, layer in layers.items() if isinstance(layer, BatchNorm)}
    if "" in kept:  # the model is a batch normalization
        kept[""] = NO_LAYER
    folded, error = _fold_in_order(order, layers, alone, kept)
    take_out(model, {norm for _, norm in folded})
    for reason in (UNKNOWN, TRAINING):
        count = sum(why == reason for why in kept.values())
        if count:
            warn(UserWarning, _check.not_folded(user, count, reason))
    return Folded(model, tuple(folded), kept, error)


def _fold_in_order(
    order: list[Step], layers: dict[str, Module], alone: set[str], kept: dict[str, str]
) -> tuple[list[tuple[str, str]], float]:
    """Fold each batch normalization that can be folded; the pairs of paths, and the largest error.

    `kept` loses those that were folded, and gets the reasons for the others.
    """
    readers = Counter(value for step in order for value in step.inputs)
    makers: dict[object, Step] = {}  # of each value the call that gave it
    folded, error = [], 0.0
    for step in order:
        makers[step.output] = step
        if step.layer is None or not isinstance(layers[step.path], BatchNorm):
            continue
        before, shared = makers.get(step.inputs[0]), readers[step.inputs[0]] > 1
        outcome = _fold_pair(layers, before, step.path, alone, shared)
        if isinstance(outcome, str):
            kept[step.path] = outcome
            continue
        assert before is not None
        makers[step.output] = before  # one more normalization may follow
        folded.append((before.path, step.path))
        error = max(error, outcome)
        del kept[step.path]
    return folded, error


def _fold_pair(
    layers: dict[str, Module], before: Step | None, path: str, alone: set[str], shared: bool
) -> float | str:
    """Fold a batch normalization into the layer before it; the error, or why it was kept."""
    outer, norm = None if before is None else layers[before.path], layers[path]
    assert isinstance(norm, BatchNorm)
    layer = outer.layer if isinstance(outer, WeightStandardization) else outer
    if before is None or before.layer is None or not isinstance(layer, (ConvNd, Linear)):
        return NO_LAYER
    if shared or before.path not in alone or path not in alone:
        return SHARED
    if not (norm.built and layer.built):
        return NOT_BUILT
    ndim = _common_rank(layer, norm)
    if ndim is None:
        return OTHER_AXIS
    why = _why_other_channels(layer, norm) or _why_not_frozen(norm)
    if why is not None:
        return why
    assert outer is not None
    both = copy.deepcopy(Sequential(outer, norm))
    if isinstance(outer, WeightStandardization):
        layer = outer.standardized()
        assert isinstance(layer, (ConvNd, Linear))
    outcome = _merge(layer, norm, both, ndim, f"{before.path} and {path}")
    if layer is not outer and not isinstance(outcome, str):
        _put_in_place(layers, before.path, layer)
    return outcome


def _put_in_place(layers: dict[str, Module], path: str, layer: Module) -> None:
    """Put a layer in the place of another one of a model, whose layers by path these are."""
    parent, _, name = path.rpartition(".")
    layers[parent].replace_child(name, layer)
    layers[path] = layer


def _why_other_channels(layer: ConvNd | Linear, norm: BatchNorm) -> str | None:
    """Why the channels of the layer's weight are not those that are normalized."""
    if isinstance(layer, ConvTranspose2d) and layer.groups > 1:
        return TRANSPOSED_GROUPS
    same = layer.weight.shape[_channel_axis(layer)] == norm.num_features
    return None if same else OTHER_CHANNELS


def _channel_axis(layer: ConvNd | Linear) -> int:
    """The axis of the output channels in the weight."""
    return 1 if isinstance(layer, ConvTranspose2d) else 0


def _common_rank(layer: ConvNd | Linear, norm: BatchNorm) -> int | None:
    """A number of axes with which both have the channels on the same one, if there is any."""
    if isinstance(layer, ConvNd):
        ndim = len(layer.kernel_size) + 2
        axis = layer.axis % ndim
        fits = ndim in (norm.ranks or (ndim,)) and norm.axis in (axis, axis - ndim)
        return ndim if fits else None
    if norm.axis == -1:
        return (norm.ranks or (2,))[0]
    return norm.axis + 1 if norm.axis + 1 in norm.ranks else None


def _why_not_frozen(norm: BatchNorm) -> str | None:
    """Why a batch normalization is not the same scale and shift for every batch."""
    if norm.running_mean is None or norm.running_var is None:
        return NO_STATISTICS
    if norm.use_batch_stats:
        return BATCH_STATISTICS
    if norm.use_batch_stats is None and norm.training:
        return TRAINING
    return None


def _merge(
    layer: ConvNd | Linear, norm: BatchNorm, both: Sequential, ndim: int, pair: str
) -> float | str:
    """Give a layer its new weight and bias, and check them; the error, or why it was kept.

    `both` is a copy of the two layers that it is to do the work of.
    """
    mean, var, eps = norm.normalizing()
    old_bias = None if layer.bias is None else layer.bias.data
    statistics, axis = (mean, var, *norm.affine_arrays(), eps), _channel_axis(layer)
    weight, bias = _folded(layer.weight.data, old_bias, *statistics, axis)
    dtype = layer.weight.dtype
    if not (_check.representable(weight, dtype) and _check.representable(bias, dtype)):
        return NOT_FINITE
    layer.weight, layer.bias = Parameter(weight), Parameter(bias)
    x = np.random.default_rng(0).standard_normal(_small_shape(layer, ndim))
    error = _difference(layer(x), both(x))
    if not error < LIMIT:
        raise RuntimeError(
            f"{pair} folded into one must give what the two gave to {LIMIT:g}, "
            f"got a difference of {error:g}"
        )
    layer.weight, layer.bias = Parameter(weight.astype(dtype)), Parameter(bias.astype(dtype))
    layer.forget()
    return error


def _small_shape(layer: ConvNd | Linear, ndim: int) -> Shape:
    """The shape of a small input; of images that give a convolution two places on each axis."""
    if isinstance(layer, Linear):
        return (*(2,) * (ndim - 1), layer.weight.shape[1])
    kernel, stride, before, after, dilation = layer.window
    sides = [
        max(1, d * (k - 1) + 1 + s - p - q)
        for k, s, p, q, d in zip(kernel, stride, before, after, dilation, strict=True)
    ]
    if isinstance(layer, ConvTranspose2d):
        sides = [2 * p + 2 for p in before]  # more than the padding takes away
    channels = layer.in_channels
    assert channels is not None
    sides = sides[4 - ndim :]  # signals are images of one row
    return (2, channels, *sides) if layer.axis == 1 else (2, *sides, channels)


def _difference(y: Array, expected: Array) -> float:
    return float((abs(y - expected) / np.maximum(abs(expected), 1)).max())


def _folded(
    weight: Array,
    bias: Array | None,
    mean: Array,
    var: Array,
    bn_weight: Array | None,
    bn_bias: Array | None,
    eps: float,
    axis: int,
) -> tuple[Doubles, Doubles]:
    """`fold_arrays` in float64; what is not finite is found out by the caller."""
    with np.errstate(over="ignore", invalid="ignore"):
        scale = core.rstd(np.ascontiguousarray(var, np.float64), eps)
        if bn_weight is not None:
            scale = scale * bn_weight
        shift = ((0.0 if bias is None else bias) - mean.astype(np.float64)) * scale
        if bn_bias is not None:
            shift = shift + bn_bias
        others = [i for i in range(weight.ndim) if i != axis]
        return weight * np.expand_dims(scale, others), shift
