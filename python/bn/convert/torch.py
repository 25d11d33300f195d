"""Normalization layers of PyTorch as layers of `bn`, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bn import _check, layers
from bn.convert.setting import (
    NOT_BUILT,
    Variance,
    exact_setting,
    refuse_frozen,
    refuse_renorm,
    variance_as,
)
from bn.layers import BatchNorm, GroupNormalization, LayerNormalization, PresetBatchNorm
from bn.layers.convention import TORCH
from bn.layers.sample_norm import SampleNorm
from bn.module import Module

if TYPE_CHECKING:
    import torch

INSTANCE_NORMS = ("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d")
BATCH_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")
NORMS = (*BATCH_NORMS, "LayerNorm", "GroupNorm", *INSTANCE_NORMS, "RMSNorm")
SIDE = "PyTorch"
RANKS = {"BatchNorm1d": 3, "BatchNorm2d": 4, "BatchNorm3d": 5}  # numbers of axes of x
BY_RANK = {2: "BatchNorm1d", **{ndim: name for name, ndim in RANKS.items()}}


def from_torch(layer: torch.nn.Module) -> Module:
    """A normalization layer of PyTorch as a layer of `bn` with PyTorch's conventions.

    Outputs, gradients and running statistics are PyTorch's, to rounding. Values and mode are
    copied. `bn.torch.to_bn` converts whole models.

    Parameters
    ----------
    layer : torch.nn.Module
        A BatchNorm1d, 2d or 3d, a SyncBatchNorm (which becomes a batch normalization of any number
        of axes), a LayerNorm, GroupNorm, InstanceNorm1d, 2d or 3d, or RMSNorm, on the CPU, in
        float32 or float64. It is not changed.

    Returns
    -------
    Module

    Raises
    ------
    ImportError
        PyTorch is not installed.
    TypeError
        `layer` is none of these.
    ValueError
        It has something that `bn` has not exactly; the message names it.

    See Also
    --------
    to_torch : The way back.

    References
    ----------
    PyTorch, "torch.nn", normalization layers.

    Examples
    --------
    >>> import torch
    >>> from_torch(torch.nn.BatchNorm1d(3))
    BatchNorm1d(3, eps=1e-05, momentum=0.1 (new), running_var=unbiased, affine=True, bias=True, \
track_running_stats=True)
    """
    name = _check.normalization("layer", layer, "PyTorch", NORMS)
    _check.framework("bn.convert.from_torch", "torch", "'.[torch]' in a checkout of bn")
    from torch import nn

    from bn.torch.accelerate import OURS, SWAPS
    from bn.torch.converting import arrays_of, to_bn

    if getattr(layer, "original", None) not in SWAPS:  # `accelerate` did not change its class
        _check.own_class(layer, (getattr(nn, name), *OURS))
    if name in INSTANCE_NORMS and layer.track_running_stats and layer.momentum is None:
        reason = "momentum=None leaves PyTorch's running statistics as they are"
        raise _check.not_exact(layer, "bn", reason)
    if name != "SyncBatchNorm":
        converted: Module = to_bn(layer)
        return converted
    state = {key: arrays_of(value) for key, value in layer.state_dict().items()}
    return _of_any_rank(layer, state)


def _of_any_rank(layer: Any, state: dict[str, Any]) -> PresetBatchNorm:
    """The layer of `bn` for a batch normalization that takes any number of axes."""
    dtypes = {value.dtype for value in state.values() if value.dtype.kind == "f"}
    made = PresetBatchNorm(
        layers.RunningStats(
            convention=TORCH, momentum=layer.momentum, dtype=min(dtypes, default=np.float32)
        ),
        layer.num_features,
        layer.eps,
        TORCH.axis,
        scale=layer.weight is not None,
        center=layer.bias is not None,
        tracked=layer.track_running_stats,
    )
    made.load_state_dict(state)
    made.training = layer.training
    return made


def to_torch(
    layer: Module, *, ndim: int | None = None, variance: Variance = "exact"
) -> torch.nn.Module:
    """A normalization layer of `bn`, of whatever conventions, as a layer of PyTorch.

    momentum becomes the weight of the new value, and the names of PyTorch are used. Values and
    mode are copied. `bn.torch.from_bn` converts whole models.

    Parameters
    ----------
    layer : Module
        A normalization with its channels on axis 1 (or on the last axis of rows), and built. It is
        not changed.
    ndim : int, optional
        The number of axes of x, for a batch normalization that takes any: PyTorch's class depends
        on it.
    variance : {"exact", "as is"} or int, default "exact"
        What becomes of a biased running variance, where PyTorch keeps the unbiased one. "exact"
        refuses it. "as is" copies it: outputs in eval mode are the same, and the next batches
        enter as in PyTorch. A number M of values of a channel in a batch multiplies it by
        M / (M - 1), which gives what PyTorch would have kept.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    ImportError
        PyTorch is not installed.
    TypeError
        `layer` is no normalization of `bn`.
    ValueError
        PyTorch has not exactly this layer (the message names what it lacks), or an option is not
        as above.

    See Also
    --------
    from_torch : The way from PyTorch.

    References
    ----------
    PyTorch, "torch.nn", normalization layers.

    Examples
    --------
    >>> import bn
    >>> layer = bn.BatchNormalization(axis=1)
    >>> layer.build((3, 8, 8))
    >>> to_torch(layer, ndim=4, variance=512)  # trained on batches of 8 images
    BatchNorm2d(3, eps=0.001, momentum=0.01, affine=True, bias=True, track_running_stats=True)
    """
    _check.instance("layer", layer, Module)
    _check.variance(variance)
    _check.framework("bn.convert.to_torch", "torch", "'.[torch]' in a checkout of bn")
    from bn.torch.converting import from_bn

    return from_bn(_in_torch_style(layer, ndim, variance))


def _in_torch_style(layer: Module, ndim: int | None, variance: Variance) -> Module:
    """The layer with PyTorch's names and conventions, still of `bn`."""
    if isinstance(layer, BatchNorm):
        made = _batch_norm(layer, ndim, variance)
    elif isinstance(layer, LayerNormalization):
        made = _layer_norm(layer, ndim)
    elif isinstance(layer, GroupNormalization):
        made = _group_norm(layer, ndim)
    else:
        _check.normalization("layer", layer, "bn", NORMS)
        return layer
    made.training = layer.training
    return made


def _batch_norm(layer: BatchNorm, ndim: int | None, variance: Variance) -> Module:
    refuse_renorm(layer, SIDE)
    refuse_frozen(layer, SIDE)
    setting = exact_setting(layer, SIDE)
    kind = _class_for(layer, ndim)
    affine = _affine(layer, layer.has_weight, layer.has_bias)
    made: BatchNorm = kind(
        layer.num_features, setting.eps, setting.share, **affine,
        track_running_stats=setting.mean is not None, dtype=layer.dtype,
    )  # fmt: skip
    values = {
        "weight": setting.weight,
        "bias": setting.bias,
        "running_mean": setting.mean,
        "running_var": variance_as(layer, setting, SIDE, True, variance),
        "num_batches_tracked": None if setting.mean is None else np.array(setting.count),
    }
    made.load_state_dict({name: value for name, value in values.items() if value is not None})
    return made


def _class_for(layer: BatchNorm, ndim: int | None) -> Any:
    """The class for x of so many axes, where its channels are on axis 1."""
    ndim = _check.rank_of_x(ndim, RANKS.get(type(layer).__name__), layer)
    if ndim not in BY_RANK:
        raise _check.not_exact(layer, SIDE, f"no class takes x of {ndim} axes")
    _channels_first(layer, layer.axis, ndim)
    return getattr(layers, BY_RANK[ndim])


def _channels_first(layer: Module, axis: int, ndim: int | None) -> None:
    """Check that the channels are on axis 1, which may be the last one."""
    if axis != 1 and (ndim is None or axis % ndim != 1):
        of = "" if ndim is None else f" of x with {ndim} axes"
        raise _check.not_exact(layer, SIDE, f"its channels are on axis {axis}{of}, and not on 1")


def _affine(layer: Module, scale: bool, center: bool) -> dict[str, bool]:
    if center and not scale:
        raise _check.not_exact(layer, SIDE, "it has a bias without a weight")
    return {"affine": scale, "bias": center}


def _layer_norm(layer: LayerNormalization, ndim: int | None) -> Module:
    if layer.lengths is None:
        raise _check.not_exact(layer, SIDE, NOT_BUILT)
    axes = sorted(layer.axis if ndim is None else (axis % ndim - ndim for axis in layer.axis))
    if axes != list(range(-len(axes), 0)):
        raise _check.not_exact(layer, SIDE, f"its axes {list(layer.axis)} are not the last ones")
    affine = _affine(layer, layer.scale, layer.center)
    made = layers.LayerNorm(
        layer.lengths, layer.eps, affine["affine"], affine["bias"], dtype=layer.dtype
    )
    return _with_affine_of(layer, made)


def _group_norm(layer: GroupNormalization, ndim: int | None) -> Module:
    if layer.channels is None:
        raise _check.not_exact(layer, SIDE, NOT_BUILT)
    _channels_first(layer, layer.axis, ndim)
    if layer.scale != layer.center:
        raise _check.not_exact(layer, SIDE, "it has a weight or a bias alone")
    groups = layer.channels if layer.groups == -1 else layer.groups
    made = layers.GroupNorm(groups, layer.channels, layer.eps, layer.scale, dtype=layer.dtype)
    return _with_affine_of(layer, made)


def _with_affine_of(layer: SampleNorm, made: SampleNorm) -> SampleNorm:
    """The new layer, with the other one's weight and bias."""
    for own, other in ((made.weight, layer.weight), (made.bias, layer.bias)):
        if own is not None and other is not None:
            own[...] = other.data
    return made
