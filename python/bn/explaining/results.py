"""What a call of a batch normalization gives, and how far two such results are apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bn.convert.setting import Setting
from bn.functional import normalize, stats
from bn.statistics import Stats, commit_moments
from bn.types import Array, Doubles


class Results(NamedTuple):
    """What one call gives.

    Attributes
    ----------
    y : ndarray
    mean, var : ndarray or None
        The running statistics after it; None where there are none, or none can be read.
    """

    y: Array
    mean: Array | None = None
    var: Array | None = None


def computed(setting: Setting, x: Array) -> Results:
    """What a batch normalization of this setting gives, in float64.

    Parameters
    ----------
    setting : Setting
    x : ndarray

    Returns
    -------
    Results

    Examples
    --------
    >>> import bn
    >>> from bn.convert.setting import setting_of
    >>> found = computed(setting_of(bn.BatchNormalization(epsilon=0.0)), np.array([[1.0], [3.0]]))
    >>> found.y.ravel()
    array([-1.,  1.])
    """
    x = x.astype(np.float64)
    batch = stats(x, setting.axis)
    mean, var = setting.mean, setting.var
    if setting.training or mean is None or var is None:
        mean, var = batch.mean, batch.unbiased_var if setting.normalizes_unbiased else batch.var
    eps = setting.eps
    if setting.eps_outside:
        var, eps = np.square(np.sqrt(var.astype(np.float64)) + eps), 0.0
    weight, bias = _wide(setting.weight), _wide(setting.bias)
    y = normalize(x, _wide(mean), _wide(var), weight, bias, eps, axis=setting.axis)
    return Results(y, *_after(setting, batch))


def _wide(values: Array | None) -> Array:
    return None if values is None else values.astype(np.float64)  # type: ignore[return-value]


def _after(setting: Setting, batch: Stats) -> tuple[Doubles | None, Doubles | None]:
    """The running statistics after a batch."""
    if setting.mean is None or setting.var is None:
        return None, None
    mean, var = _wide(setting.mean), _wide(setting.var)
    if setting.training:
        share = 1 / (setting.count + 1) if setting.share is None else setting.share
        commit_moments(batch, mean, var, share, unbiased=setting.unbiased, nonfinite="propagate")
    return mean, var


def distances(found: Results, target: Results) -> dict[str, float]:
    """How far two results are apart, as a part of how large those of the target are.

    Examples
    --------
    >>> one, other = Results(np.array([1.0, 2.0])), Results(np.array([1.0, 4.0]))
    >>> distances(one, other)
    {'output': 0.5}
    """
    apart = {"output": relative(found.y, target.y)}
    if found.mean is not None and target.mean is not None:
        assert found.var is not None and target.var is not None
        size = max(_largest(target.mean), float(np.sqrt(_largest(target.var))))
        apart["running mean"] = _relative(found.mean, target.mean, size)
        apart["running variance"] = relative(found.var, target.var)
    return apart


def relative(found: Array, target: Array) -> float:
    """The largest distance of two arrays, as a part of the largest value of the second one."""
    return _relative(found, target, _largest(target))


def _largest(values: Array) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0))


def _relative(found: Array, target: Array, size: float) -> float:
    """The largest distance, divided by a size; NaN in the same places are alike."""
    if found.shape != target.shape:
        return np.inf
    with np.errstate(invalid="ignore"):
        apart = np.abs(found.astype(np.float64) - target.astype(np.float64))
    alike = (found == target) | (np.isnan(found) & np.isnan(target))
    largest = float(np.where(alike, 0.0, np.nan_to_num(apart, nan=np.inf)).max(initial=0.0))
    return largest / size if size > 0 else largest
