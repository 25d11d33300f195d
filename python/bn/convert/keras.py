"""Normalization layers of Keras as layers of `bn`, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bn import _check, layers
from bn.convert.setting import (
    NOT_BUILT,
    Variance,
    exact_setting,
    momentum_of_old,
    refuse_frozen,
    variance_as,
)
from bn.convert.torch import RANKS
from bn.layers import BatchNorm, Regularizer
from bn.module import Module
from bn.types import Array, Shape

if TYPE_CHECKING:
    import keras

SIDE = "Keras"
BATCH_NORM = ("axis", "momentum", "epsilon", "center", "scale", "renorm", "renorm_clipping")
ARGUMENTS = {  # by class; they have one meaning on both sides
    "BatchNormalization": (*BATCH_NORM, "renorm_momentum", "synchronized"),
    "LayerNormalization": ("axis", "epsilon", "center", "scale"),
    "GroupNormalization": ("groups", "axis", "epsilon", "center", "scale"),
}
KNOWN = (*ARGUMENTS, "RMSNormalization")
NAMES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean"}
NOT_TRAINABLE = (False, False, False)  # what trainable=False sets, with one meaning on both sides
CHANNELS = ("channels", "num_channels", "num_features")
INSTANCE_RANKS = {"InstanceNorm1d": 3, "InstanceNorm2d": 4, "InstanceNorm3d": 5}
REGULARIZERS = ("gamma_regularizer", "beta_regularizer")
CONSTRAINTS = ("gamma_constraint", "beta_constraint")


def from_keras(layer: keras.layers.Layer) -> Module:
    """A normalization layer of Keras as a layer of `bn` with Keras's names and conventions.

    Outputs, gradients and moving statistics are Keras's, to rounding. Values are copied.

    Parameters
    ----------
    layer : keras.layers.Layer
        A BatchNormalization, LayerNormalization, GroupNormalization or RMSNormalization. It is not
        changed. One that is not built becomes one that is not built.

    Returns
    -------
    Module
        In training mode, because Keras's layers have none: a call has ``training``.

    Raises
    ------
    ImportError
        Keras is not installed.
    TypeError
        `layer` is none of these.
    ValueError
        It has something that `bn` has not exactly, such as a constraint; the message names it.

    See Also
    --------
    to_keras : The way back.

    References
    ----------
    Keras, "keras.layers", normalization layers.

    Examples
    --------
    >>> import keras
    >>> from_keras(keras.layers.BatchNormalization(axis=1))
    BatchNormalization(axis=1, momentum=0.99 (old), running_var=biased, epsilon=0.001, \
center=True, scale=True)
    """
    name = _check.normalization("layer", layer, SIDE, KNOWN)
    _check.framework("bn.convert.from_keras", "keras", "keras")
    import keras

    _check.own_class(layer, (getattr(keras.layers, name),))
    _refuse_what_bn_lacks(layer)
    state = {each.name: _array(each) for each in layer.weights}
    made = _rms_to_bn(layer, state) if name == "RMSNormalization" else _to_bn(layer, name, state)
    if not layer.trainable:
        made.trainable = False
    return made


def _to_bn(layer: Any, name: str, state: dict[str, Array]) -> Module:
    """The layer of the same name, built if it has values."""
    options = {each: getattr(layer, each) for each in ARGUMENTS[name] if hasattr(layer, each)}
    if name == "BatchNormalization":
        options |= {each: _regularizer(layer, each) for each in REGULARIZERS}
    made: Module = getattr(layers, name)(**options, dtype=layer.variable_dtype)
    if state:
        made.build(_shape_with(layer.axis, next(iter(state.values())).shape))
        made.load_state_dict(state)
    return made


def _rms_to_bn(layer: Any, state: dict[str, Array]) -> Module:
    if not state:
        raise _check.not_exact(layer, "bn", "it is not built")
    shape = state["scale"].shape
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    if sorted(axes) != list(range(-len(shape), 0)):
        raise _check.not_exact(layer, "bn", f"its axes {axes} are not counted from the last one")
    made = layers.RMSNorm(shape, float(layer.epsilon), dtype=layer.variable_dtype)
    made.load_state_dict({"weight": state["scale"]})
    return made


def _refuse_what_bn_lacks(layer: Any) -> None:
    reasons = {f"it has a {each}": getattr(layer, each, None) is not None for each in CONSTRAINTS}
    reasons["it scales by the variance (rms_scaling)"] = getattr(layer, "rms_scaling", False)
    mixed = layer.compute_dtype != layer.variable_dtype
    reasons[f"it computes in {layer.compute_dtype} with {layer.variable_dtype} variables"] = mixed
    if type(layer).__name__ != "BatchNormalization":
        for each in REGULARIZERS:
            reasons[f"it has a {each}"] = getattr(layer, each, None) is not None
    for reason, holds in reasons.items():
        if holds:
            raise _check.not_exact(layer, "bn", reason)


def _regularizer(layer: Any, name: str) -> Regularizer | None:
    """Keras's L1, L2 and L1L2, which have numbers of these names."""
    found = getattr(layer, name)
    if found is None:
        return None
    if type(found).__name__ not in ("L1", "L2", "L1L2"):
        raise _check.not_exact(layer, "bn", f"its {name} is a {type(found).__name__}")
    return Regularizer(float(getattr(found, "l1", 0.0)), float(getattr(found, "l2", 0.0)))


def _array(variable: Any) -> Array:
    """The values of a variable, whatever backend Keras has."""
    import keras

    array: Array = keras.ops.convert_to_numpy(variable.value)
    return array


def _shape_with(axis: Any, lengths: Shape) -> Shape:
    """A shape, without the batch axis, of x whose axes have these lengths."""
    axes = sorted(axis) if isinstance(axis, (list, tuple)) else [axis]
    ndim = max(max(axes) + 1, -min(axes) + 1)
    shape = [1] * ndim
    for each, length in zip(axes, lengths, strict=True):
        shape[each] = length
    return tuple(shape[1:])


def to_keras(
    layer: Module, *, ndim: int | None = None, variance: Variance = "exact"
) -> keras.layers.Layer:
    """A normalization layer of `bn`, of whatever conventions, as a layer of Keras.

    momentum becomes the weight of the old value, and the channel axis stays. Values are copied. A
    layer of which ``trainable`` is false stays so.

    Parameters
    ----------
    layer : Module
        A batch, layer, group or RMS normalization that is built, or an instance normalization
        without running statistics. It is not changed.
    ndim : int, optional
        The number of axes of x, for a layer that takes any: Keras's layers take one.
    variance : {"exact", "as is"} or int, default "exact"
        What becomes of an unbiased running variance, where Keras keeps the biased one. "exact"
        refuses it. "as is" copies it: outputs in inference are the same, and the next batches
        enter as in Keras. A number M of values of a channel in a batch multiplies it by
        (M - 1) / M, which gives what Keras would have kept.

    Returns
    -------
    keras.layers.Layer
        It is built.

    Raises
    ------
    ImportError
        Keras is not installed.
    TypeError
        `layer` is no normalization of `bn`.
    ValueError
        Keras has not exactly this layer (the message names what it lacks), or an option is not as
        above.

    See Also
    --------
    from_keras : The way from Keras.

    References
    ----------
    Keras, "keras.layers", normalization layers.

    Examples
    --------
    >>> import bn
    >>> found = to_keras(bn.BatchNorm2d(3), variance=512)  # trained on 8 images of 8 x 8 pixels
    >>> found.momentum, found.epsilon, found.axis
    (0.9, 1e-05, 1)
    """
    _check.instance("layer", layer, Module)
    _check.variance(variance)
    _check.framework("bn.convert.to_keras", "keras", "keras")
    if isinstance(layer, BatchNorm):
        return _batch_norm(layer, ndim, variance)
    name = _check.normalization("layer", layer, "bn", tuple(SAMPLE_NORMS))
    if not layer.built:
        raise _check.not_exact(layer, SIDE, NOT_BUILT)
    made = SAMPLE_NORMS[name](layer, ndim)
    made.trainable = layer.trainable
    return made


def _batch_norm(layer: BatchNorm, ndim: int | None, variance: Variance) -> Any:
    setting = exact_setting(layer, SIDE)
    if (layer.use_batch_stats, layer.update_stats, layer.train_affine) != NOT_TRAINABLE:
        refuse_frozen(layer, SIDE)
    if setting.mean is None:
        raise _check.not_exact(layer, SIDE, "it has no running statistics")
    options = {
        "axis": layer.axis,
        "momentum": momentum_of_old(layer, setting, SIDE),
        "epsilon": setting.eps,
        "scale": layer.has_weight,
        "center": layer.has_bias,
        **_renorm_options(layer),
        **_penalties(layer),
    }
    made = _made("BatchNormalization", layer, **options)
    made.trainable = layer.trainable
    moving = variance_as(layer, setting, SIDE, False, variance)
    assert moving is not None
    rank = _check.rank_of_x(ndim, RANKS.get(type(layer).__name__), layer)
    shape = _shape_of_rank(rank, layer.axis, setting.mean.size)
    return _filled(made, shape, {**_renamed(layer), "moving_variance": moving})


def _renorm_options(layer: BatchNorm) -> dict[str, Any]:
    renorm = getattr(layer, "renorm", None)
    if renorm is None:
        return {}
    return {
        "renorm": True,
        "renorm_clipping": dict(renorm.clipping),
        "renorm_momentum": renorm.renorm_momentum,
    }


def _penalties(layer: Any) -> dict[str, Any]:
    """Keras's regularizers for those of a layer."""
    import keras

    found = {each: getattr(layer, each, None) for each in REGULARIZERS}
    return {
        each: keras.regularizers.L1L2(penalty.l1, penalty.l2)
        for each, penalty in found.items()
        if penalty is not None
    }


def _layer_norm(layer: Any, ndim: int | None) -> Any:
    if isinstance(layer, layers.LayerNormalization):
        assert layer.lengths is not None  # it is built
        axes, shape = list(layer.axis), _shape_with(layer.axis, layer.lengths)
    else:
        axes = list(range(-len(layer.normalized_shape), 0))
        shape = layer.normalized_shape
    made = _made("LayerNormalization", layer, axis=axes, **_affine(layer))
    return _filled(made, shape, _renamed(layer))


def _group_norm(layer: Any, ndim: int | None) -> Any:
    if getattr(layer, "track_running_stats", False):
        raise _check.not_exact(layer, SIDE, "it has running statistics")
    name = type(layer).__name__
    groups = getattr(layer, "groups", getattr(layer, "num_groups", -1))  # -1: each channel is one
    channels = next(getattr(layer, each) for each in CHANNELS if hasattr(layer, each))
    rank = _check.rank_of_x(ndim, INSTANCE_RANKS.get(name), layer)
    made = _made("GroupNormalization", layer, axis=layer.axis, groups=groups, **_affine(layer))
    return _filled(made, _shape_of_rank(rank, layer.axis, channels), _renamed(layer))


def _rms_norm(layer: Any, ndim: int | None) -> Any:
    if layer.weight is None:
        raise _check.not_exact(layer, SIDE, "it has no weight")
    if not layer.eps:
        raise _check.not_exact(layer, SIDE, "its eps is not a number above 0")
    axes = list(range(-len(layer.normalized_shape), 0))
    made = _made("RMSNormalization", layer, axis=axes, epsilon=layer.eps)
    return _filled(made, layer.normalized_shape, {"scale": layer.weight.data.copy()})


SAMPLE_NORMS = {
    "LayerNorm": _layer_norm,
    "LayerNormalization": _layer_norm,
    "GroupNorm": _group_norm,
    "GroupNormalization": _group_norm,
    "InstanceNorm1d": _group_norm,
    "InstanceNorm2d": _group_norm,
    "InstanceNorm3d": _group_norm,
    "RMSNorm": _rms_norm,
}


def _affine(layer: Any) -> dict[str, Any]:
    scale, center = layer.weight is not None, layer.bias is not None
    return {"epsilon": layer.eps, "scale": scale, "center": center}


def _renamed(layer: Module) -> dict[str, Array]:
    """Copies of a layer's arrays by Keras's names; JAX would work on the arrays themselves."""
    return {NAMES.get(name, name): array for name, array in layer.state_dict().items()}


def _shape_of_rank(ndim: int, axis: int, channels: int) -> Shape:
    """A shape, without the batch axis, of x with so many axes."""
    shape = [1] * ndim
    shape[axis] = channels
    return tuple(shape[1:])


def _made(name: str, layer: Any, **options: Any) -> Any:
    """A layer of Keras with the dtype and the name of its class."""
    import keras

    return getattr(keras.layers, name)(**options, dtype=str(layer.dtype))


def _filled(made: Any, shape: Shape, arrays: dict[str, Array]) -> Any:
    """A layer of Keras that is built for x of this shape, with these values."""
    made.build((None, *shape))
    for variable in made.weights:
        variable.assign(arrays[variable.name])
    return made
