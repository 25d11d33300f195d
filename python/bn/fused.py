"""A forward or a backward pass in one call: fewer reads of memory, the same bits."""

from __future__ import annotations

from bn import _check
from bn._core import core
from bn.arrays import again
from bn.functional import Activation, backward_reduce, epilogue_of, stats
from bn.overlap import delivered, overlaps, shares, usable_output
from bn.statistics import BackwardSums, Stats, trusted
from bn.types import Array


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
    """`stats`, then `normalize` with them: the same bits in one call.

    Where a block of channels fits in a core's cache, x is read from memory once.

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
    >>> import numpy as np
    >>> y, batch = normalize_batch(np.array([[1.0], [3.0]]), eps=0.0)
    >>> y.ravel(), batch.mean
    (array([-1.,  1.]), array([2.]))
    """
    try:
        axis = _check.call(x, axis, {}, {"weight": weight, "bias": bias})
    except TypeError:
        return again(normalize_batch, locals())
    _check.eps(eps)
    plain = out is None and residual is None and activation is None
    if plain and x.size > 0:  # the usual call, which needs no further checks
        y, count, mean, m2 = core.forward(x, axis, weight, bias, eps)
        return y, trusted(Stats, count=count, mean=mean, m2=m2)
    _check.out(out, x)
    try:
        _check.optional_like("residual", residual, x)
    except TypeError:
        return again(normalize_batch, locals())
    epilogue = epilogue_of(activation, negative_slope)
    if x.size == 0:
        return core.empty_like(x) if out is None else out, stats(x, axis)
    target = usable_output(out, (x, residual), (weight, bias))
    y, count, mean, m2 = core.forward(x, axis, weight, bias, eps, target, residual, *epilogue)
    return delivered(y, out), trusted(Stats, count=count, mean=mean, m2=m2)


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

    The same bits as the two. Where a block of channels fits in a core's cache, dy and x are read
    from memory once.

    Parameters
    ----------
    dy, x, weight, eps, axis, out
        As in `backward_apply`.
    batch : Stats
        Of x.
    activation, negative_slope
        As in the forward pass. The sign of the activation's input is computed again from x, weight
        and `bias`, or taken from y. With a residual, y is needed.
    bias : ndarray of float32 or float64, shape (C,), optional
        As in the forward pass; it matters with an activation only.
    y : ndarray, optional
        What the forward pass returned.
    dresidual : ndarray, optional
        Where to put the gradient of the residual; it may be dy. Same shape and dtype as x.

    Returns
    -------
    dx : ndarray
        Gradient of x.
    sums : BackwardSums
        ``.dbias`` and ``.dweight(batch.var, eps)`` are the parameters' gradients.

    Examples
    --------
    >>> import numpy as np
    >>> x, dy = np.array([[1.0], [3.0], [5.0]]), np.array([[1.0], [0.0], [0.0]])
    >>> dx, sums = backward_batch(dy, x, stats(x), eps=0.0)
    >>> dx.round(3).ravel() + 0.0, sums.dbias
    (array([ 0.102, -0.204,  0.102]), array([1.]))
    """
    _check.same_type("batch", [batch], (Stats,))
    vectors = {"weight": weight, "bias": bias}
    try:
        axis = _check.call(x, axis, {"batch.mean": batch.mean}, vectors)
        _check.like("dy", dy, x)
        _check.optional_like("y", y, x)
    except TypeError:
        return again(backward_batch, locals())
    _check.eps(eps)
    _check.out(out, x)
    _check.out(dresidual, x, "dresidual")
    epilogue = epilogue_of(activation, negative_slope)
    if x.size == 0:
        empty = core.empty_like(x) if out is None else out
        return empty, backward_reduce(dy, x, batch.mean, axis=axis)
    target, g = usable_output(out, (dy, x, y), (weight, bias)), dresidual
    if g is not None:
        if target is not None and shares(target, x, y):
            target = None  # g is found out from them after dx was written
        if overlaps(g, dy) or shares(g, x, y, out):
            g = core.empty_like(x)
    values = (batch.mean, batch.var, weight, bias, eps, batch.count)
    dx, sum_dy, sum_dy_xmu = core.backward(dy, x, axis, *values, target, y, g, *epilogue)
    if g is not None:
        delivered(g, dresidual)
    return delivered(dx, out), trusted(
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
    ``running = (1 - momentum)·running + momentum·batch``, with the unbiased variance M / (M - 1).
    A channel whose batch statistics are not finite in their dtype keeps its running statistics.
    In evaluation, mean and var are the running ones.

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
        Where to put y; it may be x.

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
    >>> import numpy as np
    >>> x = np.array([[1.0], [3.0]])
    >>> mean, var = np.zeros(1), np.ones(1)
    >>> batch_norm(x, mean, var, training=True, eps=0.0)
    array([[-1.],
           [ 1.]])
    >>> mean, var
    (array([0.2]), array([1.1]))
    """
    _check.flag("training", training)
    _check.running_pair(running_mean, running_var, needed=not training)
    vectors = {
        "running_mean": running_mean,
        "running_var": running_var,
        "weight": weight,
        "bias": bias,
    }
    try:
        axis = _check.torch_call(x, axis, vectors)
    except TypeError:
        return again(batch_norm, locals())
    _check.finite("momentum", momentum)
    _check.eps(eps)
    _check.out(out, x)
    target = usable_output(out, (x,), (running_mean, running_var, weight, bias))
    if x.size == 0:
        return core.empty_like(x) if out is None else out
    if running_mean is None or running_var is None:
        _check.enough_values(x, axis)
        return delivered(core.forward(x, axis, weight, bias, eps, target)[0], out)
    if not training:
        y = core.normalize(x, axis, running_mean, running_var, weight, bias, eps, target)
        return delivered(y, out)
    _check.enough_values(x, axis)
    _check.writeable("running_mean", running_mean)
    _check.writeable("running_var", running_var)
    y, count, mean, m2 = core.forward(x, axis, weight, bias, eps, target)
    core.commit(running_mean, running_var, count, mean, m2, momentum, True)
    return delivered(y, out)
