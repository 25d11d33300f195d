"""Masks, lengths and sample weights: how much each value counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn._core import core
from bn.arrays import takes_arrays
from bn.statistics import BackwardSums, Stats
from bn.types import Array


@takes_arrays
def position_weights(
    x: Array,
    axis: int = 1,
    mask: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> Array | None:
    """The weight of each value of x: the product of those of a mask, lengths and sample weights.

    Parameters
    ----------
    x : ndarray
        For example (N, C, L), or (N, L, C) with ``axis=-1``.
    axis : int, default 1
        The channel axis.
    mask : array_like of bool, optional
        True where values count. Of x's shape without the channel axis, as in Keras, or with as many
        axes as x and broadcastable to it, as in Flax.
    lengths : array_like of int, shape (N,), optional
        How many places of each sequence count, along the first axis that is neither the batch's nor
        the channels'.
    sample_weight : array_like of float, optional
        At least 0, shape (N,), or as for `mask`.

    Returns
    -------
    ndarray of float64 or None
        Broadcastable to x; None if nothing is given, and all values count alike.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or a value is not as above.

    Examples
    --------
    >>> x = np.zeros((2, 1, 3))
    >>> position_weights(x, lengths=[1, 3], sample_weight=[2.0, 0.5])
    array([[[2. , 0. , 0. ]],
    <BLANKLINE>
           [[0.5, 0.5, 0.5]]])
    """
    if mask is None and lengths is None and sample_weight is None:
        return None
    axis = _check.data(x, axis)
    factors = []
    if mask is not None:
        factors.append(_placed("mask", _check.boolean("mask", mask), x, axis))
    if lengths is not None:
        factors.append(_within(_check.lengths(lengths, x.shape, axis), x, axis))
    if sample_weight is not None:
        weight = _check.sample_weight(sample_weight)
        if weight.ndim == 1:
            _check.shape("sample_weight", weight, (x.shape[0],))
            weight = weight.reshape(-1, *[1] * (x.ndim - 1))
        factors.append(_placed("sample_weight", weight, x, axis))
    product = np.asarray(factors[0], np.float64)
    for factor in factors[1:]:
        product = product * factor
    return product


def _placed(name: str, values: Array, x: Array, axis: int) -> Array:
    """With as many axes as x."""
    placed = np.expand_dims(values, axis) if values.ndim == x.ndim - 1 else values
    _check.positions(name, placed.shape, values.shape, x.shape, axis)
    return placed


def _within(lengths: Array, x: Array, axis: int) -> Array:
    """True for the places before each sequence's end."""
    along = _check.sequence_axis(x.ndim, axis)
    shape = [1] * x.ndim
    shape[along] = -1
    places = np.arange(x.shape[along]).reshape(shape)
    return np.asarray(places < lengths.reshape(-1, *[1] * (x.ndim - 1)))


def clean(x: Array, weights: Array | None) -> Array:
    """Copy x with 0 for values of weight 0 that are not finite; x itself if there are none."""
    if weights is None or np.all(weights) or np.isfinite(x).all():
        return x
    return np.where((weights == 0) & ~np.isfinite(x), x.dtype.type(0), x)


def weighted_stats(x: Array, axis: int, weights: Array) -> Stats:
    """`bn.stats` of values that have weights.

    The kernel of the backward sums computes Σ dy·(x - mean): with dy = w and mean 0 it gives Σw·x,
    and with dy = w·(x - mean) it gives m2.
    """
    _check.spreads("weights", weights, x.shape)
    x = clean(x, weights).astype(np.float64)  # so that w keeps its digits
    w = _spread(weights, x)
    zero, one = np.zeros(x.shape[axis]), np.ones(x.shape[axis])
    count, total = core.reduce(w, x, axis, zero)
    mean = total / np.where(count > 0, count, 1)
    w *= core.normalize(x, axis, mean, one, None, None, 0.0)
    m2 = core.reduce(w, x, axis, mean)[1]
    return Stats(count, mean, np.maximum(m2, 0))


def _spread(weights: Array, x: Array) -> Array:
    """An array like x of weights that `_check.spreads` has seen."""
    w = core.empty_like(x)
    w[...] = weights
    return w


def _at_least_float32(x: Array) -> Array:
    return x.astype(np.float32) if _check.is_half(x) else x


def weighted_gradient(
    dy: Array, x: Array, axis: int, mean: Array, var: Array, weight: Array | None, eps: float,
    sums: BackwardSums, weights: Array,
) -> Array:  # fmt: skip
    """`bn.backward_apply` of a batch whose values have weights.

    ``dx = weight·r·dy + w × the term through mean and var``. The latter is the gradient with
    dy = 0, because only the sums enter it.
    """
    _check.spreads("weights", weights, x.shape)
    wide, wide_dy = _at_least_float32(x), _at_least_float32(dy)
    zero, count = np.zeros(x.shape[axis]), np.where(sums.count > 0, sums.count, 1)
    dx = core.gradient(
        np.zeros_like(wide), wide, axis, mean, var, weight, None, eps, count, sums.dy, sums.dy_xmu
    )
    dx *= _spread(weights, wide)
    dx += core.normalize(wide_dy, axis, zero, var, weight, None, eps)
    return dx.astype(x.dtype, copy=False)
