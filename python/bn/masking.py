"""Masks, lengths and sample weights: how much each value counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn.module import Array


def position_weights(
    x: Array,
    axis: int = 1,
    mask: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> Array | None:
    """How much each value of x counts, of a mask, of lengths and of sample weights: their product.

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
    """Copy x with 0 for what is not finite and does not count; x where there is no such value."""
    if weights is None or np.all(weights) or np.isfinite(x).all():
        return x
    return np.where((weights == 0) & ~np.isfinite(x), x.dtype.type(0), x)
