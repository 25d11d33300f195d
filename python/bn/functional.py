"""The pure functions that every batch normalization in `bn` is made of.

forward:  `stats` → (`merge`) → `normalize`, and `commit` to the running statistics;
backward: `backward_reduce` → (`merge`) → `backward_apply`.
`normalize_batch` and `backward_batch` are each pair in one pass over memory, to the same bits.

float16 and ml_dtypes' bfloat16 are computed as float32 (statistics, as ever, in float64).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy import float64

from bn import _check
from bn._core import core
from bn.masking import clean
from bn.module import Array
from bn.statistics import BackwardSums, Stats, trusted

Activation = Literal["relu", "leaky_relu"]
ACTIVATIONS = (None, "relu", "leaky_relu")  # in the kernels' order


def stats(x: Array, axis: int = 1, *, weights: Array | None = None) -> Stats:
    """Statistics of each channel: count, mean and M2 = Σ(x - mean)².

    They are summed in float64 whatever x's dtype, and about a point near the mean where squares
    would lose digits. The same x gives the same bits with any number of threads.

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
        x is not an array of float32 or float64.
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
    axis = _check.data(x, axis)
    if x.size == 0:
        return Stats(*(np.zeros(x.shape[axis]) for _ in range(3)))
    if weights is not None:
        return _weighted_stats(x, axis, weights)
    count, mean, m2 = core.stats(x, axis)
    return trusted(Stats, count=count, mean=mean, m2=m2)


def _weighted_stats(x: Array, axis: int, weights: Array) -> Stats:
    """Σw·x and Σw·(x - mean)² are the sums of a backward pass whose dy is w, and w·(x - mean)."""
    x = clean(x, weights).astype(float64)  # so that w keeps its digits
    w = _spread(weights, x)
    zero, one = np.zeros(x.shape[axis]), np.ones(x.shape[axis])
    count, total = core.reduce(w, x, axis, zero)
    mean = total / np.where(count > 0, count, 1)
    w *= core.normalize(x, axis, mean, one, None, None, 0.0)
    m2 = core.reduce(w, x, axis, mean)[1]
    return Stats(count, mean, np.maximum(m2, 0))


def _spread(weights: Array, x: Array) -> Array:
    _check.spreads("weights", weights, x.shape)
    w = core.empty_like(x)
    w[...] = weights
    return w


def _at_least_float32(x: Array) -> Array:
    return x.astype(np.float32) if _check.is_half(x) else x


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
        Where to put y; x itself is welcome. Same shape and dtype as x.
    residual : ndarray, optional
        Added before the activation. Same shape and dtype as x.
    activation : {"relu", "leaky_relu"}, optional
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
    axis = _check.call(x, axis, {"mean": mean, "var": var}, {"weight": weight, "bias": bias})
    _check.eps(eps)
    _check.out(out, x)
    _check.optional_like("residual", residual, x)
    epilogue = _epilogue(activation, negative_slope)
    if x.size == 0:
        return core.empty_like(x) if out is None else out
    target = _apart(out, (x, residual), (mean, var, weight, bias))
    y = core.normalize(x, axis, mean, var, weight, bias, eps, target, residual, *epilogue)
    return _delivered(y, out)


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
    axis = _check.call(x, axis, {"mean": mean}, {})
    _check.like("dy", dy, x)
    if x.size == 0:
        return BackwardSums(*(np.zeros(x.shape[axis]) for _ in range(3)))
    sum_dy, sum_dy_xmu = core.reduce(dy, x, axis, mean)
    count = np.full(x.shape[axis], float(x.size // x.shape[axis]))
    return BackwardSums(count, sum_dy, sum_dy_xmu)


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
        Where to put dx; dy itself is welcome.
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
    axis = _check.call(x, axis, {"mean": mean, "var": var}, {"weight": weight})
    _check.like("dy", dy, x)
    _check.eps(eps)
    _check.out(out, x)
    if sums is not None:
        _check.same_type("sums", [sums], (BackwardSums,))
        _check.per_channel("sums.dy", sums.dy, x.shape[axis])
    if weights is not None and sums is not None and x.size:
        dx = _weighted_gradient(dy, x, axis, mean, var, weight, eps, sums, weights)
        return _delivered(dx, out)
    target = _apart(out, (dy, x), (mean, var, weight))
    if target is None:
        target = core.empty_like(x)
    if x.size == 0:
        return _delivered(target, out)
    if sums is None:  # dy·weight·r is a normalization of dy about 0
        zero = np.zeros(x.shape[axis])
        dx = core.normalize(dy, axis, zero, var, weight, None, eps, target)
    else:
        dx = core.gradient(
            dy, x, axis, mean, var, weight, None, eps, sums.count, sums.dy, sums.dy_xmu, target
        )
    return _delivered(dx, out)


def _weighted_gradient(
    dy: Array, x: Array, axis: int, mean: Array, var: Array, weight: Array | None, eps: float,
    sums: BackwardSums, weights: Array,
) -> Array:  # fmt: skip
    """That of the normalization alone, and w times that of the statistics, which is of dy = 0."""
    wide, wide_dy = _at_least_float32(x), _at_least_float32(dy)
    zero, count = np.zeros(x.shape[axis]), np.where(sums.count > 0, sums.count, 1)
    dx = core.gradient(
        np.zeros_like(wide), wide, axis, mean, var, weight, None, eps, count, sums.dy, sums.dy_xmu
    )
    dx *= _spread(weights, wide)
    dx += core.normalize(wide_dy, axis, zero, var, weight, None, eps)
    return dx.astype(x.dtype, copy=False)


def normalize_batch(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    axis: int = 1,
    out: Array | None = None,
    residual: Array | None = None,
    activation: Activation | None = None,
    negative_slope: float = 0.01,
) -> tuple[Array, Stats]:
    """`stats`, then `normalize` with them: the same bits, but x is read from memory once.

    Parameters
    ----------
    x, weight, bias, eps, axis, out, residual, activation, negative_slope
        As in `normalize`.

    Returns
    -------
    y : ndarray
        The normalized x.
    batch : Stats
        Its statistics.

    Examples
    --------
    >>> y, batch = normalize_batch(np.array([[1.0], [3.0]]), eps=0.0)
    >>> y.ravel(), batch.mean
    (array([-1.,  1.]), array([2.]))
    """
    axis = _check.call(x, axis, {}, {"weight": weight, "bias": bias})
    _check.eps(eps)
    _check.out(out, x)
    _check.optional_like("residual", residual, x)
    epilogue = _epilogue(activation, negative_slope)
    if x.size == 0:
        return core.empty_like(x) if out is None else out, stats(x, axis)
    target = _apart(out, (x, residual), (weight, bias))
    y, count, mean, m2 = core.forward(x, axis, weight, bias, eps, target, residual, *epilogue)
    return _delivered(y, out), trusted(Stats, count=count, mean=mean, m2=m2)


def backward_batch(
    dy: Array,
    x: Array,
    batch: Stats,
    weight: Array | None = None,
    eps: float = 1e-5,
    *,
    axis: int = 1,
    out: Array | None = None,
    bias: Array | None = None,
    y: Array | None = None,
    activation: Activation | None = None,
    negative_slope: float = 0.01,
    dresidual: Array | None = None,
) -> tuple[Array, BackwardSums]:
    """`backward_reduce`, then `backward_apply` with its sums: the gradient of `normalize_batch`.

    The same bits as the two, but dy and x are read from memory once.

    Parameters
    ----------
    dy, x, weight, eps, axis, out
        As in `backward_apply`.
    batch : Stats
        Of x.
    activation, negative_slope
        As in the forward pass. Where the activation was off is found out again from x, weight and
        `bias`; or from the sign of y, which must be given if there was a residual.
    bias : ndarray of float32 or float64, shape (C,), optional
        As in the forward pass; it matters with an activation only.
    y : ndarray, optional
        What the forward pass returned.
    dresidual : ndarray, optional
        Where to put the gradient of the residual; dy itself is welcome. Same shape and dtype as x.

    Returns
    -------
    dx : ndarray
        Gradient of x.
    sums : BackwardSums
        ``.dbias`` and ``.dweight(batch.var, eps)`` are the parameters' gradients.

    Examples
    --------
    >>> x, dy = np.array([[1.0], [3.0], [5.0]]), np.array([[1.0], [0.0], [0.0]])
    >>> dx, sums = backward_batch(dy, x, stats(x), eps=0.0)
    >>> dx.round(3).ravel() + 0.0, sums.dbias
    (array([ 0.102, -0.204,  0.102]), array([1.]))
    """
    _check.same_type("batch", [batch], (Stats,))
    vectors = {"weight": weight, "bias": bias}
    axis = _check.call(x, axis, {"batch.mean": batch.mean}, vectors)
    _check.like("dy", dy, x)
    _check.eps(eps)
    _check.out(out, x)
    _check.optional_like("y", y, x)
    _check.out(dresidual, x, "dresidual")
    epilogue = _epilogue(activation, negative_slope)
    if x.size == 0:
        empty = core.empty_like(x) if out is None else out
        return empty, backward_reduce(dy, x, batch.mean, axis=axis)
    target, g = _apart(out, (dy, x, y), (weight, bias)), dresidual
    if g is not None:
        if target is not None and _shares(target, x, y):
            target = None  # g is found out from them after dx was written
        if _overlap(g, dy) or _shares(g, x, y, out):
            g = core.empty_like(x)
    values = (batch.mean, batch.var, weight, bias, eps, batch.count)
    dx, sum_dy, sum_dy_xmu = core.backward(dy, x, axis, *values, target, y, g, *epilogue)
    if g is not None:
        _delivered(g, dresidual)
    return _delivered(dx, out), trusted(
        BackwardSums, count=batch.count, dy=sum_dy, dy_xmu=sum_dy_xmu
    )


def batch_norm(
    x: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    axis: int = 1,
    out: Array | None = None,
) -> Array:
    """Batch normalization in one call, with the arguments of ``torch.nn.functional.batch_norm``.

    ``y = (x - mean) / sqrt(var + eps) · weight + bias``. In training, mean and var (biased) are
    the batch's, and the running statistics, if given, are updated in place:
    ``running = (1 - momentum)·running + momentum·batch``, with the unbiased variance M / (M - 1);
    but not those of a channel whose batch is not finite, or too large for their dtype. Otherwise
    they are the running ones.

    Parameters
    ----------
    x : ndarray of float16, bfloat16, float32 or float64, at least 2 axes
        The channels are on `axis`.
    running_mean, running_var : ndarray of float32 or float64, shape (C,), or None
        Running statistics; both or neither.
    weight, bias : ndarray of float32 or float64, shape (C,), optional
        Scale and shift; None stands for 1 and 0.
    training : bool, default False
        Normalize with the batch's statistics and update the running ones.
    momentum : float, default 0.1
        The weight of the new value (any finite number, as in PyTorch's functional form).
    eps : float, default 1e-5
        Added to the variance; at least 0.
    axis : int, default 1
        The channel axis.
    out : ndarray, optional
        Where to put y; x itself is welcome.

    Returns
    -------
    ndarray
        `out`, or a new array with x's dtype and order of axes in memory.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or a value is not as above, one value per channel in training, no running
        statistics in evaluation. Nothing was written then.

    References
    ----------
    Ioffe & Szegedy, "Batch Normalization", 2015.

    Examples
    --------
    >>> x = np.array([[1.0], [3.0]])
    >>> mean, var = np.zeros(1), np.ones(1)
    >>> batch_norm(x, mean, var, training=True, eps=0.0)
    array([[-1.],
           [ 1.]])
    >>> mean, var
    (array([0.2]), array([1.1]))
    """
    _check.running_pair(running_mean, running_var, needed=not training)
    vectors = {
        "running_mean": running_mean,
        "running_var": running_var,
        "weight": weight,
        "bias": bias,
    }
    axis = _check.torch_call(x, axis, vectors)
    _check.finite("momentum", momentum)
    _check.eps(eps)
    _check.out(out, x)
    target = _apart(out, (x,), (running_mean, running_var, weight, bias))
    if x.size == 0:
        return core.empty_like(x) if out is None else out
    if running_mean is None or running_var is None:
        _check.enough_values(x, axis)
        return _delivered(core.forward(x, axis, weight, bias, eps, target)[0], out)
    if not training:
        y = core.normalize(x, axis, running_mean, running_var, weight, bias, eps, target)
        return _delivered(y, out)
    _check.enough_values(x, axis)
    _check.writeable("running_mean", running_mean)
    _check.writeable("running_var", running_var)
    y, count, mean, m2 = core.forward(x, axis, weight, bias, eps, target)
    core.commit(running_mean, running_var, count, mean, m2, momentum, True)
    return _delivered(y, out)


def _epilogue(activation: str | None, negative_slope: float) -> tuple[int, float]:
    """What the kernels do after the normalization: the number of an activation, and its slope."""
    _check.activation(activation, ACTIVATIONS)
    if activation == "leaky_relu":
        _check.slope(negative_slope)
    return ACTIVATIONS.index(activation), negative_slope


def _shares(out: Array, *arrays: Array | None) -> bool:
    return any(a is not None and np.may_share_memory(out, a) for a in arrays)


def _overlap(out: Array, *arrays: Array | None) -> bool:
    """Whether out shares memory with an array that is not out to the byte."""
    return any(
        a is not None
        and _shares(out, a)
        and (out.ctypes.data != a.ctypes.data or out.strides != a.strides)
        for a in arrays
    )


def _apart(
    out: Array | None, inputs: tuple[Array | None, ...], vectors: tuple[Array | None, ...]
) -> Array | None:
    """`out` if the kernels may write there: it is an input to the byte, or apart from all."""
    if out is None or _overlap(out, *inputs) or _shares(out, *vectors):
        return None
    return out


def _delivered(y: Array, out: Array | None) -> Array:
    if out is None or out is y:
        return y
    out[...] = y
    return out
