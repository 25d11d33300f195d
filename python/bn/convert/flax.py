"""Batch normalizations of Flax as layers of `bn`, and back."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from bn import _check
from bn.convert.setting import (
    Setting,
    Variance,
    exact_setting,
    momentum_of_old,
    refuse_frozen,
    refuse_renorm,
    variance_as,
)
from bn.layers import BatchNorm, PresetBatchNorm, preset
from bn.types import Array

Arrays: TypeAlias = dict[str, Array]
SIDE = "Flax"
INSTALLED = "flax"
PARAMETERS = {"scale": "weight", "bias": "bias"}
STATISTICS = {"mean": "running_mean", "var": "running_var"}


def from_flax(module: Any, variables: Any = None) -> PresetBatchNorm:
    """A batch normalization of Flax as a layer of `bn` with Flax's conventions.

    Outputs, gradients and running statistics are Flax's, to rounding. Values are copied.

    Parameters
    ----------
    module : flax.linen.BatchNorm or flax.nnx.BatchNorm
        It is not changed.
    variables : mapping, optional
        Of a module of linen, which has no values of its own: ``{"params": {"scale", "bias"},
        "batch_stats": {"mean", "var"}}``, as its `init` returns them.

    Returns
    -------
    PresetBatchNorm
        In eval mode if the module says ``use_running_average=True``.

    Raises
    ------
    ImportError
        Flax is not installed.
    TypeError
        `module` is none of these, or `variables` is no mapping.
    ValueError
        The module has something that `bn` has not exactly, such as several axes or an `axis_name`;
        the message names it.

    See Also
    --------
    to_flax : The way back.

    References
    ----------
    Flax, "flax.linen.BatchNorm", "flax.nnx.BatchNorm".

    Examples
    --------
    >>> from flax import linen
    >>> import jax, numpy as np
    >>> module = linen.BatchNorm(momentum=0.9, use_running_average=False)
    >>> from_flax(module, module.init(jax.random.key(0), np.ones((4, 3))))
    PresetBatchNorm(flax: 3, eps=1e-05, momentum=0.9 (old), running_var=biased, scale=True, \
center=True, axis=-1)
    """
    _check.normalization("module", module, SIDE, ("BatchNorm",))
    _check.framework("bn.convert.from_flax", "flax", INSTALLED)
    from flax import linen, nnx

    _check.own_class(module, (linen.BatchNorm, nnx.BatchNorm))
    arrays = _arrays_of_nnx(module) if variables is None else _arrays_of_linen(variables)
    _refuse_what_bn_lacks(module, arrays)
    mean = arrays["running_mean"]
    made = preset(
        "flax", mean.size, momentum=float(module.momentum), eps=float(module.epsilon),
        axis=_one_axis(module), scale="weight" in arrays, center="bias" in arrays,
        dtype=np.result_type(*arrays.values()),
    )  # fmt: skip
    made.load_state_dict(arrays)
    made.training = not module.use_running_average
    return made


def _arrays_of_linen(variables: Any) -> Arrays:
    parameters, statistics = _check.flax_variables(variables)
    found = {PARAMETERS[name]: np.array(value) for name, value in parameters.items()}
    return found | {STATISTICS[name]: np.array(value) for name, value in statistics.items()}


def _arrays_of_nnx(module: Any) -> Arrays:
    """The values of a module of nnx, whose parts have them."""
    names = {**PARAMETERS, **STATISTICS}
    parts = {own: getattr(module, name, None) for name, own in names.items()}
    return {own: np.array(part) for own, part in parts.items() if hasattr(part, "__array__")}


def _one_axis(module: Any) -> int:
    axes = module.axis if isinstance(module.axis, (tuple, list)) else (module.axis,)
    return int(axes[0])


def _refuse_what_bn_lacks(module: Any, arrays: Arrays) -> None:
    several = isinstance(module.axis, (tuple, list)) and len(module.axis) != 1
    reasons = {
        f"it has several axes, {module.axis}": several,
        "it takes the statistics of several devices (axis_name)": module.axis_name is not None,
        "it has no values: give its variables": "running_mean" not in arrays,
    }
    for reason, holds in reasons.items():
        if holds:
            raise _check.not_exact(module, "bn", reason)


def to_flax(
    layer: BatchNorm, *, variance: Variance = "exact", api: Literal["linen", "nnx"] = "linen"
) -> Any:
    """A batch normalization of `bn`, of whatever conventions, as a module of Flax.

    momentum becomes the weight of the old value, and the channel axis stays. Values are copied, and
    the mode becomes `use_running_average`.

    Parameters
    ----------
    layer : BatchNorm
        It is built, and not changed.
    variance : {"exact", "as is"} or int, default "exact"
        What becomes of an unbiased running variance, where Flax keeps the biased one: as in
        `to_keras`.
    api : {"linen", "nnx"}
        Which of Flax's two kinds of modules to make.

    Returns
    -------
    (flax.linen.BatchNorm, dict) or flax.nnx.BatchNorm
        A module of linen comes with its variables.

    Raises
    ------
    ImportError
        Flax is not installed.
    TypeError
        `layer` is no batch normalization of `bn`.
    ValueError
        Flax has not exactly this layer (the message names what it lacks), or an option is not as
        above.

    See Also
    --------
    from_flax : The way from Flax.

    References
    ----------
    Flax, "flax.linen.BatchNorm", "flax.nnx.BatchNorm".

    Examples
    --------
    >>> import bn
    >>> module, variables = to_flax(bn.preset("keras", 3, momentum=0.9))
    >>> module.momentum, sorted(variables)
    (0.9, ['batch_stats', 'params'])
    """
    _check.instance("layer", layer, BatchNorm)
    _check.variance(variance)
    _check.one_of("api", api, ("linen", "nnx"))
    _check.framework("bn.convert.to_flax", "flax", INSTALLED)
    refuse_renorm(layer, SIDE)
    refuse_frozen(layer, SIDE)
    setting = exact_setting(layer, SIDE)
    if setting.mean is None:
        raise _check.not_exact(layer, SIDE, "it has no running statistics")
    options = {
        "use_running_average": not layer.training,
        "axis": setting.axis,
        "momentum": momentum_of_old(layer, setting, SIDE),
        "epsilon": setting.eps,
        "use_scale": setting.weight is not None,
        "use_bias": setting.bias is not None,
        "param_dtype": layer.dtype,
    }
    var = variance_as(layer, setting, SIDE, False, variance)
    assert var is not None
    statistics = {"mean": setting.mean, "var": var}
    return (_linen if api == "linen" else _nnx)(options, _parameters(setting), statistics)


def _parameters(setting: Setting) -> Arrays:
    values = {"scale": setting.weight, "bias": setting.bias}
    return {name: value for name, value in values.items() if value is not None}


def _linen(options: dict[str, Any], parameters: Arrays, statistics: dict[str, Any]) -> Any:
    from flax import linen

    values = {"params": parameters, "batch_stats": statistics}
    arrays = {kind: {n: _in_jax(a) for n, a in named.items()} for kind, named in values.items()}
    return linen.BatchNorm(**options), arrays


def _nnx(options: dict[str, Any], parameters: Arrays, statistics: Arrays) -> Any:
    from flax import nnx

    made = nnx.BatchNorm(statistics["mean"].size, **options, rngs=nnx.Rngs(0))
    for name, values in {**parameters, **statistics}.items():
        getattr(made, name)[...] = _in_jax(values)
    return made


def _in_jax(values: Array) -> Any:
    """An array of JAX, which makes float32 of float64 unless it is told otherwise."""
    from jax import numpy as jnp

    array = jnp.asarray(values)
    _check.same_precision(values.dtype, array.dtype)
    return array
