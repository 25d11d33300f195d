"""ONNX's `BatchNormalization` operator as a function, opsets 7 to 15.

Examples
--------
>>> from bn import onnx
>>> zero, one = np.zeros(1), np.ones(1)
>>> onnx.BatchNormalization(np.array([[1.0], [3.0]]), one, zero, zero, one, epsilon=0.0)
array([[1.],
       [3.]])
"""

from __future__ import annotations

import numpy as np

from bn import _check
from bn.functional import commit, normalize
from bn.fused import normalize_batch
from bn.types import Array

__all__ = ["BatchNormalization"]


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


def _widened(values: Array) -> Array:
    """A copy in a dtype that the core takes for the values of channels."""
    return values.astype(np.float64 if _check.is_half(values) else values.dtype)
