"""Second-order gradients of batch normalization, as a pure function."""

from __future__ import annotations

import numpy as np
from numpy import float64

from bn import _check
from bn._core import core
from bn.arrays import takes_arrays
from bn.functional import backward_apply, backward_reduce, normalize
from bn.statistics import BackwardSums
from bn.types import Array, Doubles


@takes_arrays
def batch_norm_double_backward(
    ddx: Array | None,
    ddweight: Array | None,
    ddbias: Array | None,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None = None,
    eps: float = 1e-5,
    training: bool = True,
    *,
    axis: int = 1,
    order: int = 2,
) -> tuple[Array, Array, Doubles | None]:
    """Gradient of the backward pass: what a gradient penalty needs of a batch normalization.

    The backward pass takes (dy, x, weight) to (dx, dweight, dbias). This is the gradient of
    ``Σ ddx·dx + Σ ddweight·dweight + Σ ddbias·dbias`` with respect to dy, x and weight.

    With M the count, r = 1 / sqrt(var + eps), x̂ = (x - mean)·r, b = Σ dy·x̂, d = Σ ddx·x̂,
    c(v) = v - Σv / M and K = Σ dy·c(ddx), in training:

    - ``ddy = weight·r·(c(ddx) - x̂·d / M) + ddweight·x̂ + ddbias``
    - ``dx = r·(ddweight - weight·r·d / M)·c(dy) - r·weight·r·b / M·c(ddx)
      + r·x̂·(weight·r·(3·b·d / M - K) - ddweight·b) / M``
    - ``dweight = r·(K - b·d / M)``

    and where mean and var are constants: ``ddy = weight·r·ddx + ddweight·x̂ + ddbias``,
    ``dx = ddweight·r·dy``, ``dweight = r·Σ dy·ddx``.

    There is no third order: no function of `bn` gives the gradients of these results.

    Parameters
    ----------
    ddx : ndarray or None
        Gradient of dx; x's shape and dtype. None stands for 0, as in the next two.
    ddweight, ddbias : ndarray of float32 or float64, shape (C,), or None
        Gradients of dweight and dbias.
    dy, x : ndarray of float32 or float64, at least 2 axes
        What the backward pass was given; in training, the whole batch. float16 and bfloat16 are
        taken too, but each sum of two terms is rounded to them.
    mean, var : ndarray of float32 or float64, shape (C,)
        In training the batch's, as in ``stats(x).mean`` and ``.var``; otherwise the running ones.
    weight : ndarray of float32 or float64, shape (C,), optional
        Scale; None stands for 1.
    eps : float, default 1e-5
        Added to the variance; at least 0.
    training : bool, default True
        Whether mean and var are functions of x; False takes them as constants.
    axis : int, default 1
        The channel axis.
    order : int, default 2
        Of the gradients; any other is an error.

    Returns
    -------
    ddy, dx : ndarray
        Gradients with respect to dy and x, with x's dtype and order of axes in memory.
    dweight : ndarray of float64, shape (C,), or None
        Gradient with respect to weight; None without a weight.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape, eps or the order is not as above.

    References
    ----------
    PyTorch, ``batchnorm_double_backward`` in torch/csrc/autograd/FunctionsManual.cpp.
    Ioffe & Szegedy, "Batch Normalization", 2015, section 3, differentiated once more.

    Examples
    --------
    The gradient of the penalty Σ dx² / 2, which is of degree 2 in dy and ignores shifts of x:

    >>> from bn import backward_batch, stats
    >>> x, dy = np.array([[1.0], [3.0], [8.0]]), np.array([[1.0], [0.0], [0.0]])
    >>> batch = stats(x)
    >>> dx, _ = backward_batch(dy, x, batch, eps=0.0)
    >>> ddy, penalty_dx, _ = batch_norm_double_backward(
    ...     dx, None, None, dy, x, batch.mean, batch.var, eps=0.0
    ... )
    >>> bool(np.isclose(np.sum(ddy * dy), np.sum(dx * dx)))
    True
    >>> bool(np.isclose(np.sum(penalty_dx), 0))
    True
    """
    _check.second_order(order)
    _check.flag("training", training)
    vectors = {"weight": weight, "ddweight": ddweight, "ddbias": ddbias}
    axis = _check.call(x, axis, {"mean": mean, "var": var}, vectors)
    _check.like("dy", dy, x)
    _check.optional_like("ddx", ddx, x)
    _check.eps(eps)
    only_ddx = ddweight is None and ddbias is None
    zeros = np.zeros(x.shape[axis])
    ddx = np.zeros_like(x) if ddx is None else ddx
    ddweight = zeros if ddweight is None else ddweight

    sums = backward_reduce(ddx, x, mean, axis=axis) if training else None
    ddy = backward_apply(ddx, x, mean, var, weight, eps, sums, axis=axis)
    if not only_ddx:
        normalize(x, mean, var, ddweight, ddbias, eps, axis=axis, residual=ddy, out=ddy)
    if sums is not None:
        dx, dweight = _through_batch(ddx, sums, ddweight, dy, x, mean, var, weight, eps, axis)
    else:
        dx = backward_apply(dy, x, mean, var, ddweight, eps, axis=axis)
        dweight = backward_reduce(dy, ddx, zeros, axis=axis).dweight(var, eps)
    return ddy, dx, None if weight is None else dweight


def _through_batch(
    ddx: Array,
    ddx_sums: BackwardSums,
    ddweight: Array,
    dy: Array,
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    eps: float,
    axis: int,
) -> tuple[Array, Doubles]:
    """(dx, dweight) where mean and var are functions of x: three normalizations, added up."""
    dy_sums = backward_reduce(dy, x, mean, axis=axis)
    count = np.maximum(dy_sums.count, 1)
    dy_mean, ddx_mean = dy_sums.dy / count, ddx_sums.dy / count
    r = core.rstd(np.ascontiguousarray(var, float64), eps)
    scale = r if weight is None else weight * r
    b, d = dy_sums.dweight(var, eps), ddx_sums.dweight(var, eps)
    k = backward_reduce(dy, ddx, ddx_mean, axis=axis).dy_xmu

    of_ddx = -scale * b / count
    of_dy = ddweight - scale * d / count
    of_x = r * (scale * (3 * b * d / count - k) - ddweight * b) / count
    dx = normalize(x, mean, var, of_x, None, eps, axis=axis)
    normalize(ddx, ddx_mean, var, of_ddx, None, eps, axis=axis, residual=dx, out=dx)
    normalize(dy, dy_mean, var, of_dy, None, eps, axis=axis, residual=dx, out=dx)
    return dx, r * (k - b * d / count)
