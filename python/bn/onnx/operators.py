"""ONNX's normalizations as functions, with ONNX's names: one for each operator."""

from __future__ import annotations

import math

import numpy as np

from bn import _check
from bn._core import core
from bn.arrays import takes_arrays
from bn.functional import commit, normalize
from bn.fused import normalize_batch
from bn.groups import Groups
from bn.rows import Rows
from bn.types import Array

__all__ = [
    "BatchNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "RMSNormalization",
]


@takes_arrays
def BatchNormalization(
    X: Array,
    scale: Array,
    B: Array,
    input_mean: Array,
    input_var: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    opset: int = 15,
    spatial: int = 1,
) -> Array | tuple[Array, Array, Array]:
    """ONNX's BatchNormalization, with ONNX's names.

    ``Y = (X - mean) / sqrt(var + epsilon) · scale + B`` for each channel. With ``training_mode=0``
    mean and var are `input_mean` and `input_var`. With ``training_mode=1`` they are the batch's
    (var biased), and ``running = input·momentum + batch·(1 - momentum)``.

    No input is changed. A channel with a single value is allowed in training; its variance is 0.

    Parameters
    ----------
    X : ndarray of float16, bfloat16, float32 or float64, shape (N, C, D1, ..., Dn) or (N,)
        A single axis is the N of one channel.
    scale, B : ndarray of any of these dtypes, shape (C,)
        Scale and shift; their dtype is X's before opset 15.
    input_mean, input_var : ndarray of any of these dtypes, shape (C,)
        Estimated or running statistics; their dtype is X's before opset 14.
    epsilon : float, default 1e-5
        Added to the variance; at least 0.
    momentum : float, default 0.9
        The weight of the old value (``1 - momentum`` is PyTorch's); any finite number.
    training_mode : int, default 0
        0 or 1. 1 exists from opset 14 on.
    opset : int, default 15
        From 7 to 15: which dtypes may be mixed, and whether there is a `training_mode`. bfloat16
        exists from opset 14 on.
    spatial : int, default 1
        Only 1, statistics of whole channels. ONNX itself had 0 in opsets 7 and 8 only.

    Returns
    -------
    Y : ndarray
        X's shape and dtype.
    running_mean, running_var : ndarray, shape (C,)
        With ``training_mode=1``; new arrays of `input_mean`'s dtype, equal to the inputs if X is
        empty.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or an attribute is not as above.

    References
    ----------
    ONNX operators, BatchNormalization, versions 7, 9, 14 and 15,
    https://onnx.ai/onnx/operators/onnx__BatchNormalization.html

    Examples
    --------
    >>> X = np.array([[1.0], [3.0]])
    >>> one, zero = np.ones(1), np.zeros(1)
    >>> BatchNormalization(X, one, zero, one, one, epsilon=0.0)
    array([[0.],
           [2.]])
    >>> Y, running_mean, running_var = BatchNormalization(
    ...     X, one, zero, zero, one, epsilon=0.0, momentum=0.5, training_mode=1
    ... )
    >>> Y.ravel(), running_mean, running_var
    (array([-1.,  1.]), array([1.]), array([1.]))
    """
    _check.onnx_attributes(opset, epsilon, momentum, training_mode, spatial)
    vectors = {"scale": scale, "B": B, "input_mean": input_mean, "input_var": input_var}
    _check.onnx_inputs({"X": X, **vectors}, opset)
    x = X[:, np.newaxis] if X.ndim == 1 else X
    weight, bias, mean, var = (_widened(v) for v in vectors.values())
    if not training_mode:
        return normalize(x, mean, var, weight, bias, epsilon).reshape(X.shape)
    y, batch = normalize_batch(x, weight, bias, epsilon)
    commit(batch, mean, var, 1 - momentum, unbiased=False, nonfinite="propagate")
    return y.reshape(X.shape), mean.astype(input_mean.dtype), var.astype(input_var.dtype)


@takes_arrays
def LayerNormalization(
    X: Array,
    Scale: Array,
    B: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[Array, Array, Array]:
    """ONNX's LayerNormalization, with ONNX's names.

    ``Y = (X - mean) / sqrt(var + epsilon) · Scale + B``, where mean and var (biased) are those of
    the axes from `axis` on.

    Parameters
    ----------
    X : ndarray of float16, bfloat16, float32 or float64
    Scale, B : ndarray of any of these dtypes
        Scale and shift; they broadcast to the axes that are normalized.
    axis : int, default -1
        The first axis that is normalized.
    epsilon : float, default 1e-5
        Added to the variance; at least 0.
    stash_type : int, default 1
        The dtype of Mean and InvStdDev: 1, float32, or 11, float64. The arithmetic does not depend
        on it.

    Returns
    -------
    Y : ndarray
        X's shape and dtype.
    Mean, InvStdDev : ndarray
        The mean and ``1 / sqrt(var + epsilon)``, with lengths of 1 on the axes from `axis` on.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or an attribute is not as above.

    References
    ----------
    ONNX operators, LayerNormalization, version 17,
    https://onnx.ai/onnx/operators/onnx__LayerNormalization.html

    Examples
    --------
    >>> Y, Mean, InvStdDev = LayerNormalization(np.array([[1.0, 3.0]]), np.ones(2), epsilon=0.0)
    >>> Y, Mean, InvStdDev
    (array([[-1.,  1.]]), array([[2.]], dtype=float32), array([[1.]], dtype=float32))
    """
    sizes = _onnx_row(X, axis, epsilon)
    stash = _check.onnx_stash(stash_type)
    weight = _check.onnx_broadcast("Scale", Scale, sizes)
    bias = None if B is None else _check.onnx_broadcast("B", B, sizes)
    y, batch = Rows(math.prod(sizes)).forward(X, weight, bias, epsilon)
    kept = (*X.shape[: X.ndim - len(sizes)], *[1] * len(sizes))
    rstd = core.rstd(batch.var, epsilon)
    return y, batch.mean.reshape(kept).astype(stash), rstd.reshape(kept).astype(stash)


@takes_arrays
def RMSNormalization(
    X: Array, scale: Array, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Array:
    """ONNX's RMSNormalization, with ONNX's names.

    ``Y = X / sqrt(mean(X²) + epsilon) · scale``, where the mean is over the axes from `axis` on.

    Parameters
    ----------
    X : ndarray of float16, bfloat16, float32 or float64
    scale : ndarray of any of these dtypes
        It broadcasts to the axes that are normalized.
    axis : int, default -1
        The first axis that is normalized.
    epsilon : float, default 1e-5
        Added to the mean square; at least 0.
    stash_type : int, default 1
        1 or 11; the arithmetic does not depend on it.

    Returns
    -------
    ndarray
        X's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or an attribute is not as above.

    References
    ----------
    ONNX operators, RMSNormalization, version 23,
    https://onnx.ai/onnx/operators/onnx__RMSNormalization.html

    Examples
    --------
    >>> RMSNormalization(np.array([[3.0, 4.0, 0.0, 0.0]]), np.ones(4), epsilon=0.0)
    array([[1.2, 1.6, 0. , 0. ]])
    """
    sizes = _onnx_row(X, axis, epsilon)
    _check.onnx_stash(stash_type)
    weight = _check.onnx_broadcast("scale", scale, sizes)
    return Rows(math.prod(sizes), about_zero=True).forward(X, weight, None, epsilon)[0]


@takes_arrays
def GroupNormalization(
    X: Array,
    scale: Array,
    bias: Array,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    opset: int = 21,
) -> Array:
    """ONNX's GroupNormalization, with ONNX's names.

    ``Y = (X - mean) / sqrt(var + epsilon) · scale + bias``, where mean and var (biased) are those
    of C / num_groups adjoining channels of a sample.

    Parameters
    ----------
    X : ndarray of float16, bfloat16, float32 or float64, shape (N, C, D1, ..., Dn)
    scale, bias : ndarray of any of these dtypes, shape (C,)
        Before opset 21 their shape is (num_groups,).
    num_groups : int
        Divides C.
    epsilon : float, default 1e-5
        Added to the variance; at least 0.
    stash_type : int, default 1
        1 or 11; the arithmetic does not depend on it.
    opset : int, default 21
        From 18 to 21.

    Returns
    -------
    ndarray
        X's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or an attribute is not as above.

    References
    ----------
    ONNX operators, GroupNormalization, versions 18 and 21,
    https://onnx.ai/onnx/operators/onnx__GroupNormalization.html

    Examples
    --------
    >>> X, one, zero = np.array([[1.0, 3.0, 10.0, 30.0]]), np.ones(4), np.zeros(4)
    >>> GroupNormalization(X, one, zero, num_groups=2, epsilon=0.0)
    array([[-1.,  1., -1.,  1.]])
    """
    _, channels = _check.channels_of(X, 1, "X")
    _check.channel_groups(num_groups, channels)
    _check.eps(epsilon, "epsilon")
    _check.onnx_stash(stash_type)
    each = _check.onnx_group_repeats(opset, num_groups, channels)
    weight, shift = (
        np.repeat(_onnx_vector(name, values, channels // each), each)
        for name, values in (("scale", scale), ("bias", bias))
    )
    return Groups(int(num_groups), 1).forward(X, weight, shift, epsilon)[0]


@takes_arrays
def InstanceNormalization(input: Array, scale: Array, B: Array, *, epsilon: float = 1e-5) -> Array:
    """ONNX's InstanceNormalization, with ONNX's names.

    ``output = (input - mean) / sqrt(var + epsilon) · scale + B``, where mean and var (biased) are
    those of one channel of one sample.

    Parameters
    ----------
    input : ndarray of float16, bfloat16, float32 or float64, shape (N, C, D1, ..., Dn)
    scale, B : ndarray of any of these dtypes, shape (C,)
    epsilon : float, default 1e-5
        Added to the variance; at least 0.

    Returns
    -------
    ndarray
        input's shape and dtype.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or epsilon is not as above.

    References
    ----------
    ONNX operators, InstanceNormalization, versions 6 and 22,
    https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html

    Examples
    --------
    >>> InstanceNormalization(np.array([[[1.0, 3.0]]]), np.ones(1), np.zeros(1), epsilon=0.0)
    array([[[-1.,  1.]]])
    """
    _, channels = _check.channels_of(input, 1, "input")
    _check.eps(epsilon, "epsilon")
    weight, bias = _onnx_vector("scale", scale, channels), _onnx_vector("B", B, channels)
    return Groups(None, 1).forward(input, weight, bias, epsilon)[0]


def _onnx_row(X: Array, axis: int, epsilon: float) -> tuple[int, ...]:
    """Check X, axis and epsilon; the lengths of the axes that are normalized."""
    _check.data_of_any_rank(X, "X")
    _check.eps(epsilon, "epsilon")
    return X.shape[_check.axis_of(axis, X.ndim) :]


def _onnx_vector(name: str, values: Array, length: int) -> Array:
    _check.onnx_floating(name, values)
    _check.shape(name, values, (length,))
    return _widened(values)


def _widened(values: Array) -> Array:
    """A copy in a dtype that the core takes for the values of channels."""
    return values.astype(np.float64 if _check.is_half(values) else values.dtype)
