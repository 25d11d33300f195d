"""Second-order gradients of layer, RMS and group normalization, as pure functions.

With g = weight·dy, ``dx`` is that of a normalization without a weight, and ``dweight = Σ dy·x̂``. So
the second order is that of batch normalization with a row or a group as its channel, and
``ddy = weight·dg + ddweight·x̂ + ddbias``, ``dweight = Σ dy·dg``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy import float64

from bn import _check
from bn._core import core
from bn.arrays import takes_arrays
from bn.double_backward import batch_norm_double_backward
from bn.functional import backward_apply, backward_reduce, normalize, stats
from bn.rows import eps_of
from bn.types import Array, Doubles, Shape

# (of rows, (R, n)) x, g, ddx and h = ddweight·dy to x̂, the gradient of g, and that of x.
Rule = Callable[[Array, Array, Array, Array], tuple[Array, Array, Array]]


@takes_arrays
def layer_norm_double_backward(
    ddx: Array | None,
    ddweight: Array | None,
    ddbias: Array | None,
    dy: Array,
    x: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    eps: float = 1e-5,
) -> tuple[Array, Array, Doubles | None]:
    """Gradient of the backward pass of layer normalization: what a gradient penalty needs.

    The backward pass takes (dy, x, weight) to (dx, dweight, dbias). This is the gradient of
    ``Σ ddx·dx + Σ ddweight·dweight + Σ ddbias·dbias`` with respect to dy, x and weight.

    Parameters
    ----------
    ddx : ndarray or None
        Gradient of dx; x's shape and dtype. None stands for 0, as in the next two.
    ddweight, ddbias : ndarray of float32 or float64, shape `normalized_shape`, or None
        Gradients of dweight and dbias.
    dy, x : ndarray of float32 or float64
        What the backward pass was given.
    normalized_shape, weight, eps
        As in `layer_norm`.

    Returns
    -------
    ddy, dx : ndarray
        Gradients with respect to dy and x, with x's shape and dtype.
    dweight : ndarray of float64, or None
        Gradient with respect to weight; None without a weight.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or eps is not as above.

    References
    ----------
    Ba, Kiros & Hinton, "Layer Normalization", 2016, differentiated twice.

    Examples
    --------
    The penalty Σ dx² / 2 is of degree 2 in dy:

    >>> import bn
    >>> x, dy = np.array([[1.0, 3.0, 8.0]]), np.array([[1.0, 0.0, 0.0]])
    >>> layer = bn.LayerNorm(3, dtype=float)
    >>> _, dx = layer(x), layer.backward(dy)
    >>> ddy, penalty_dx, _ = layer_norm_double_backward(dx, None, None, dy, x, 3)
    >>> bool(np.isclose(np.sum(ddy * dy), np.sum(dx * dx)))
    True
    """
    sizes = _check.normalized_shape(normalized_shape)
    _check.ends_in(x, sizes)
    _check.eps(eps)
    vectors = _checked(ddx, dy, x, sizes, weight=weight, ddweight=ddweight, ddbias=ddbias)
    return _double_backward(ddx, dy, x, (-1, math.prod(sizes)), vectors, sizes, _centered(eps))


@takes_arrays
def rms_norm_double_backward(
    ddx: Array | None,
    ddweight: Array | None,
    dy: Array,
    x: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    eps: float | None = None,
) -> tuple[Array, Array, Doubles | None]:
    """Gradient of the backward pass of RMS normalization: what a gradient penalty needs.

    With n the length of a row, r = 1 / sqrt(Σx² / n + eps), x̂ = x·r, g = weight·dy, b = Σ g·x̂ / n,
    d = Σ ddx·x̂ / n and K = Σ g·ddx / n, for a weight of 1 and without ddweight:
    ``ddy = r·(ddx - x̂·d)`` and ``dx = -r²·(x̂·(K - 3·b·d) + d·g + b·ddx)``.

    Parameters
    ----------
    ddx : ndarray or None
        Gradient of dx; x's shape and dtype. None stands for 0, as in the next one.
    ddweight : ndarray of float32 or float64, shape `normalized_shape`, or None
        Gradient of dweight.
    dy, x : ndarray of float32 or float64
        What the backward pass was given.
    normalized_shape, weight, eps
        As in `rms_norm`.

    Returns
    -------
    ddy, dx : ndarray
        Gradients with respect to dy and x, with x's shape and dtype.
    dweight : ndarray of float64, or None
        Gradient with respect to weight; None without a weight.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or eps is not as above.

    References
    ----------
    Zhang & Sennrich, "Root Mean Square Layer Normalization", 2019, differentiated twice.

    Examples
    --------
    >>> import bn
    >>> x, dy = np.array([[1.0, 3.0, 8.0]]), np.array([[1.0, 0.0, 0.0]])
    >>> layer = bn.RMSNorm(3, dtype=float)
    >>> _, dx = layer(x), layer.backward(dy)
    >>> ddy, penalty_dx, _ = rms_norm_double_backward(dx, None, dy, x, 3)
    >>> bool(np.isclose(np.sum(ddy * dy), np.sum(dx * dx)))
    True
    """
    sizes = _check.normalized_shape(normalized_shape)
    _check.ends_in(x, sizes)
    eps = eps_of(eps, x)
    vectors = _checked(ddx, dy, x, sizes, weight=weight, ddweight=ddweight, ddbias=None)
    return _double_backward(ddx, dy, x, (-1, math.prod(sizes)), vectors, sizes, _about_zero(eps))


@takes_arrays
def group_norm_double_backward(
    ddx: Array | None,
    ddweight: Array | None,
    ddbias: Array | None,
    dy: Array,
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    eps: float = 1e-5,
) -> tuple[Array, Array, Doubles | None]:
    """Gradient of the backward pass of group normalization: what a gradient penalty needs.

    The backward pass takes (dy, x, weight) to (dx, dweight, dbias). This is the gradient of
    ``Σ ddx·dx + Σ ddweight·dweight + Σ ddbias·dbias`` with respect to dy, x and weight. With
    as many groups as channels it is that of instance normalization.

    Parameters
    ----------
    ddx : ndarray or None
        Gradient of dx; x's shape and dtype. None stands for 0, as in the next two.
    ddweight, ddbias : ndarray of float32 or float64, shape (C,), or None
        Gradients of dweight and dbias.
    dy, x : ndarray of float32 or float64, shape (N, C, ...)
        What the backward pass was given.
    num_groups, weight, eps
        As in `group_norm`.

    Returns
    -------
    ddy, dx : ndarray
        Gradients with respect to dy and x, with x's shape and dtype.
    dweight : ndarray of float64, shape (C,), or None
        Gradient with respect to weight; None without a weight.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or eps is not as above.

    References
    ----------
    Wu & He, "Group Normalization", 2018, differentiated twice.

    Examples
    --------
    >>> import bn
    >>> x, dy = np.array([[[1.0, 3.0, 8.0]]]), np.array([[[1.0, 0.0, 0.0]]])
    >>> layer = bn.GroupNorm(1, 1, dtype=float)
    >>> _, dx = layer(x), layer.backward(dy)
    >>> ddy, penalty_dx, _ = group_norm_double_backward(dx, None, None, dy, x, 1)
    >>> bool(np.isclose(np.sum(ddy * dy), np.sum(dx * dx)))
    True
    """
    _, channels = _check.channels_of(x, 1)
    _check.channel_groups(num_groups, channels)
    _check.eps(eps)
    vectors = _checked(ddx, dy, x, (channels,), weight=weight, ddweight=ddweight, ddbias=ddbias)
    rows = (len(x) * int(num_groups), -1)
    along = (channels, *[1] * (x.ndim - 2))
    return _double_backward(ddx, dy, x, rows, vectors, along, _centered(eps))


def _checked(
    ddx: Array | None, dy: Array, x: Array, shape: Shape, **vectors: Array | None
) -> dict[str, Array | None]:
    """Check what all three take."""
    _check.floating("x", x)
    _check.like("dy", dy, x)
    _check.optional_like("ddx", ddx, x)
    for name, values in vectors.items():
        _check.optional_of_shape(name, values, shape)
    return vectors


def _double_backward(
    ddx: Array | None,
    dy: Array,
    x: Array,
    rows: Shape,
    vectors: dict[str, Array | None],
    along: Shape,
    rule: Rule,
) -> tuple[Array, Array, Doubles | None]:
    """The gradients, given how x becomes rows, and in which shape parameters spread to x."""
    weight = vectors["weight"]
    shape = () if weight is None else weight.shape
    if x.size == 0:
        return np.zeros_like(x), np.zeros_like(x), None if weight is None else np.zeros(shape)

    def spread(name: str, missing: float) -> Array:
        values = vectors[name]
        wide = np.full(along, missing) if values is None else values.astype(float64).reshape(along)
        return wide.astype(x.dtype)

    def of_rows(a: Array) -> Array:
        return np.ascontiguousarray(a).reshape(rows)

    w, ddw, ddb = spread("weight", 1.0), spread("ddweight", 0.0), spread("ddbias", 0.0)
    v = np.zeros_like(x) if ddx is None else ddx
    xhat, dg, dx = (
        a.reshape(x.shape) for a in rule(of_rows(x), of_rows(dy * w), of_rows(v), of_rows(dy * ddw))
    )
    ddy = w * dg + ddw * xhat + ddb
    if weight is None:
        return ddy, dx, None
    front = x.ndim - len(along)
    others = tuple(i for i in range(x.ndim) if i < front or along[i - front] == 1)
    return ddy, dx, (dy * dg).sum(axis=others, dtype=float64).reshape(shape)


def _centered(eps: float) -> Rule:
    """The rule of rows from which the mean is subtracted: batch normalization's, row by row."""

    def rule(x: Array, g: Array, v: Array, h: Array) -> tuple[Array, Array, Array]:
        x, g, v, h = (a[np.newaxis] for a in (x, g, v, h))  # rows are the channels of one sample
        batch = stats(x)
        moments = (batch.mean, batch.var)
        dg, dx, _ = batch_norm_double_backward(v, None, None, g, x, *moments, eps=eps)
        sums = backward_reduce(h, x, batch.mean)
        dx += backward_apply(h, x, *moments, eps=eps, sums=sums)
        return normalize(x, *moments, eps=eps), dg, dx

    return rule


def _about_zero(eps: float) -> Rule:
    """The rule of rows whose mean square normalizes."""

    def rule(x: Array, g: Array, v: Array, h: Array) -> tuple[Array, Array, Array]:
        def mean(a: Array, b: Array) -> Array:
            means = np.mean(a * b, axis=1, keepdims=True, dtype=float64)
            return means.astype(x.dtype)

        squares = np.mean(np.square(x, dtype=float64), axis=1)
        r = core.rstd(squares, eps)[:, np.newaxis].astype(x.dtype)
        xhat = x * r
        b, d, k = mean(g, xhat), mean(v, xhat), mean(g, v)
        dx = -r * r * (xhat * (k - 3 * b * d) + d * g + b * v)
        return xhat, r * (v - xhat * d), dx + r * (h - xhat * mean(h, xhat))

    return rule
