"""The functions that every batch normalization in `bn` is made of.

forward:  `stats` → (`merge`) → `normalize`, and `commit` to the running statistics;
backward: `backward_reduce` → (`merge`) → `backward_apply`.
`bn.fused` has each pair as one call with the same bits, which reads memory less often.

float16 and ml_dtypes' bfloat16 are computed as float32, and their statistics in float64, like all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeVar, cast

import numpy as np

from bn import _check
from bn._core import core
from bn.arrays import again, numpy_argument
from bn.masking import weighted_gradient, weighted_stats
from bn.overlap import delivered, usable_output
from bn.statistics import BackwardSums, Stats, commit_moments, trusted
from bn.types import Array

Activation = Literal["relu", "leaky_relu", "relu6"]
ACTIVATIONS = (None, "relu", "leaky_relu", "relu6")  # in the kernels' order


def stats(x: Array, axis: int = 1, *, weights: Array | None = None) -> Stats:
    """Statistics of each channel: count, mean and M2 = Σ(x - mean)².

    Sums are in float64; those of float32 and smaller dtypes add up a few terms in float32 first.
    Where the mean is large beside the standard deviation they are taken about a point near the
    mean, because ``Σx² - M·mean²`` would cancel. The same x gives the same bits with any number of
    threads.

    Parameters
    ----------
    x : ndarray of float16, bfloat16, float32 or float64, at least 2 axes
        For example (N, C), (N, C, H, W), or (N, H, W, C) with ``axis=-1``.
    axis : int, default 1
        The channel axis; all others are summed over.
    weights : ndarray, optional
        How much each value counts, as `position_weights` makes it of a mask, of lengths or of
        sample weights: ``count = Σw``, ``mean = Σw·x / Σw``, ``m2 = Σw·(x - mean)²``. A value of
        weight 0 does not count at all, be it NaN.

    Returns
    -------
    Stats
        ``.count``, ``.mean``, ``.m2``, ``.var``, float64 arrays of shape (C,). An empty x has
        count 0, which merges into anything.

    Raises
    ------
    TypeError
        x is not an array of a supported floating dtype.
    ValueError
        x has fewer than 2 axes, or axis is not one of them.

    References
    ----------
    Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979.

    Examples
    --------
    >>> s = stats(np.array([[1.0, 10.0], [3.0, 10.0]]))
    >>> s.mean, s.var
    (array([ 2., 10.]), array([1., 0.]))
    """
    try:
        axis = _check.data(x, axis)
    except TypeError:
        return again(stats, locals())
    if x.size == 0:
        return Stats(*(np.zeros(x.shape[axis]) for _ in range(3)))
    if weights is not None:
        return weighted_stats(x, axis, numpy_argument("weights", weights))
    count, mean, m2 = core.stats(x, axis)
    return trusted(Stats, count=count, mean=mean, m2=m2)


Mergeable = TypeVar("Mergeable", Stats, BackwardSums)


def merge(parts: Iterable[Mergeable]) -> Mergeable:
    """Statistics (or backward sums) of several sets of values taken together.

    Parameters
    ----------
    parts : iterable of Stats, or of BackwardSums
        Of any sizes, empty ones included, all with the same number of channels.

    Returns
    -------
    Stats or BackwardSums
        What one call over all the values would have returned, to rounding in float64.

    Raises
    ------
    TypeError
        Nothing to merge, or not all of one kind.
    ValueError
        Different numbers of channels, or a count of ``2**53`` or more in all.

    Examples
    --------
    >>> from bn import stats
    >>> x = np.array([[1.0], [3.0], [8.0]])
    >>> whole, both = stats(x), merge([stats(x[:1]), stats(x[1:])])
    >>> both.mean, both.m2, whole.m2
    (array([4.]), array([26.]), array([26.]))
    """
    _check.several("parts", parts)
    parts = list(parts)
    kind = _check.same_type("parts", parts, (Stats, BackwardSums))
    for part in parts:
        _check.shape("each part", part.count, parts[0].count.shape)
    return cast("Mergeable", kind.merged(parts))  # type: ignore[attr-defined]


def commit(
    batch: Stats,
    running_mean: Array,
    running_var: Array,
    momentum: float = 0.1,
    *,
    unbiased: bool = True,
    nonfinite: str = "skip",
) -> int:
    """Update running statistics with those of a batch, in place.

    ``running = (1 - momentum)·running + momentum·batch``, computed in float64.

    Parameters
    ----------
    batch : Stats
        From `stats` or `merge`. Channels without values leave the running statistics alone.
    running_mean, running_var : ndarray of float32 or float64, shape (C,)
        Updated in place.
    momentum : float, default 0.1
        The weight of the new value, as in PyTorch (Keras's momentum is ``1 - momentum``).
    unbiased : bool, default True
        Keep m2 / (M - 1), as PyTorch does; False keeps m2 / M, as Keras, Flax and ONNX do.
    nonfinite : {"skip", "raise", "propagate"}, default "skip"
        What to do with a channel whose statistics would not be finite in the dtypes of the running
        ones, because its batch has an inf or NaN or its values are too large: leave its running
        statistics alone, raise and change nothing, or update them all the same, as the frameworks
        do.

    Returns
    -------
    int
        The number of such channels.

    Examples
    --------
    >>> from bn import stats
    >>> mean, var = np.zeros(1), np.ones(1)
    >>> commit(stats(np.array([[1.0], [3.0]])), mean, var, momentum=0.5)
    0
    >>> mean, var
    (array([1.]), array([1.5]))
    """
    _check.same_type("batch", [batch], (Stats,))
    _check.running(running_mean, running_var, batch.count.size)
    _check.finite("momentum", momentum)
    _check.flag("unbiased", unbiased)
    _check.nonfinite("nonfinite", nonfinite)
    bad = commit_moments(
        batch, running_mean, running_var, momentum, unbiased=unbiased, nonfinite=nonfinite
    )
    return 0 if bad is None else int(np.count_nonzero(bad))


def normalize(
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    axis: int = 1,
    out: Array | None = None,
    residual: Array | None = None,
    activation: Activation | None = None,
    negative_slope: float = 0.01,
) -> Array:
    """``y = (x - mean) / sqrt(var + eps) · weight + bias``, channel by channel.

    With `residual` and `activation`, ``y = activation(... + residual)`` in the same pass.

    float32 keeps all its digits however far the mean is from 0: the mean is subtracted in two
    parts. A channel whose values are all the mean comes out as the bias exactly.

    Parameters
    ----------
    x : ndarray of float16, bfloat16, float32 or float64, at least 2 axes
        The channels are on `axis`.
    mean, var : ndarray of float32 or float64, shape (C,)
        Statistics of the batch or running ones; var is the biased variance.
    weight, bias : ndarray of float32 or float64, shape (C,), optional
        Scale and shift; None stands for 1 and 0.
    eps : float, default 1e-5
        Added to the variance; at least 0.
    axis : int, default 1
        The channel axis.
    out : ndarray, optional
        Where to put y; it may be x. Same shape and dtype as x.
    residual : ndarray, optional
        Added before the activation. Same shape and dtype as x.
    activation : {"relu", "leaky_relu", "relu6"}, optional
        Applied to the result.
    negative_slope : float, default 0.01
        Of "leaky_relu"; above 0.

    Returns
    -------
    ndarray
        `out`, or a new array with x's dtype and order of axes in memory.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or eps is not as above; nothing was written then.

    References
    ----------
    Ioffe & Szegedy, "Batch Normalization", 2015, algorithm 1.

    Examples
    --------
    >>> x = np.array([[1.0], [3.0]])
    >>> normalize(x, np.array([2.0]), np.array([1.0]), eps=0.0)
    array([[-1.],
           [ 1.]])
    """
    try:
        axis = _check.call(x, axis, {"mean": mean, "var": var}, {"weight": weight, "bias": bias})
    except TypeError:
        return again(normalize, locals())
    _check.eps(eps)
    plain = out is None and residual is None and activation is None
    if plain and x.size > 0:  # the usual call, which needs no further checks
        return core.normalize(x, axis, mean, var, weight, bias, eps)
    _check.out(out, x)
    try:
        _check.optional_like("residual", residual, x)
    except TypeError:
        return again(normalize, locals())
    epilogue = epilogue_of(activation, negative_slope)
    if x.size == 0:
        return core.empty_like(x) if out is None else out
    target = usable_output(out, (x, residual), (mean, var, weight, bias))
    y = core.normalize(x, axis, mean, var, weight, bias, eps, target, residual, *epilogue)
    return delivered(y, out)


def backward_reduce(dy: Array, x: Array, mean: Array, *, axis: int = 1) -> BackwardSums:
    """The sums over a batch that its gradient needs: Σ dy and Σ dy·(x - mean).

    Parameters
    ----------
    dy : ndarray
        Gradient of the normalized output; x's shape and dtype.
    x : ndarray of float16, bfloat16, float32 or float64, at least 2 axes
        What was normalized.
    mean : ndarray of float32 or float64, shape (C,)
        The mean that was subtracted (of the whole batch, where x is a part of it).
    axis : int, default 1
        The channel axis.

    Returns
    -------
    BackwardSums
        ``.dbias`` and ``.dweight(var, eps)`` are the parameters' gradients; sums of parts of a
        batch `merge`.

    Raises
    ------
    TypeError, ValueError
        A dtype or a shape is not as above.

    Examples
    --------
    >>> x = np.array([[1.0], [3.0]])
    >>> sums = backward_reduce(np.array([[1.0], [2.0]]), x, np.array([2.0]))
    >>> sums.dbias, sums.dweight(np.array([1.0]), eps=0.0)
    (array([3.]), array([1.]))
    """
    try:
        axis = _check.call(x, axis, {"mean": mean}, {})
        _check.like("dy", dy, x)
    except TypeError:
        return again(backward_reduce, locals())
    if x.size == 0:
        return BackwardSums(*(np.zeros(x.shape[axis]) for _ in range(3)))
    sum_dy, sum_dy_xmu = core.reduce(dy, x, axis, mean)
    count = np.full(x.shape[axis], float(x.size // x.shape[axis]))
    return trusted(BackwardSums, count=count, dy=sum_dy, dy_xmu=sum_dy_xmu)


def backward_apply(
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None = None,
    eps: float = 1e-5,
    sums: BackwardSums | None = None,
    *,
    axis: int = 1,
    out: Array | None = None,
    weights: Array | None = None,
) -> Array:
    """Gradient of `normalize` with respect to x.

    With r = 1 / sqrt(var + eps), M the count and x̂ = (x - mean)·r:
    ``dx = weight·r·(dy - Σdy / M - x̂·Σ(dy·x̂) / M)`` where the statistics came from x, and
    ``dx = weight·r·dy`` where they were constants (eval mode): ``sums=None``.

    Parameters
    ----------
    dy, x : ndarray
        As in `backward_reduce`.
    mean, var, weight, eps
        As in `normalize`.
    sums : BackwardSums, optional
        Of the whole batch; None if mean and var did not depend on x.
    axis : int, default 1
        The channel axis.
    out : ndarray, optional
        Where to put dx; it may be dy.
    weights : ndarray, optional
        Those of `stats`; ``sums.count`` is Σw then, and
        ``dx = weight·r·(dy - w·(Σdy / Σw + x̂·Σ(dy·x̂) / Σw))``.

    Returns
    -------
    ndarray
        `out`, or a new array with x's dtype and order of axes in memory.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or eps is not as above; nothing was written then.

    References
    ----------
    Ioffe & Szegedy, "Batch Normalization", 2015, section 3.

    Examples
    --------
    >>> x, dy = np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]])
    >>> backward_apply(dy, x, np.array([2.0]), np.array([4.0]), eps=0.0)
    array([[0.5],
           [1. ]])
    """
    try:
        axis = _check.call(x, axis, {"mean": mean, "var": var}, {"weight": weight})
        _check.like("dy", dy, x)
    except TypeError:
        return again(backward_apply, locals())
    _check.eps(eps)
    _check.out(out, x)
    if sums is not None:
        _check.same_type("sums", [sums], (BackwardSums,))
        _check.per_channel("sums.dy", sums.dy, x.shape[axis])
    if weights is not None and sums is not None and x.size:
        weights = numpy_argument("weights", weights)
        dx = weighted_gradient(dy, x, axis, mean, var, weight, eps, sums, weights)
        return delivered(dx, out)
    target = usable_output(out, (dy, x), (mean, var, weight))
    if target is None:
        target = core.empty_like(x)
    if x.size == 0:
        return delivered(target, out)
    if sums is None:  # dy·weight·r is a normalization of dy about 0
        zero = np.zeros(x.shape[axis])
        dx = core.normalize(dy, axis, zero, var, weight, None, eps, target)
    else:
        dx = core.gradient(
            dy, x, axis, mean, var, weight, None, eps, sums.count, sums.dy, sums.dy_xmu, target
        )
    return delivered(dx, out)


def epilogue_of(activation: str | None, negative_slope: float) -> tuple[int, float]:
    """What the kernels do after the normalization: the number of an activation, and its slope."""
    _check.activation(activation, ACTIVATIONS)
    if activation == "leaky_relu":
        _check.slope(negative_slope)
    else:
        _check.finite("negative_slope", negative_slope)
    return ACTIVATIONS.index(activation), negative_slope
