"""Batch normalization in a few lines of float64 NumPy: the oracle of the tests."""

import numpy as np


def _spread(values, x, axis):
    """(C,) values shaped to broadcast against x."""
    shape = [1] * x.ndim
    shape[axis] = -1
    return np.asarray(values, np.float64).reshape(shape)


def _others(x, axis):
    return tuple(i for i in range(x.ndim) if i != axis % x.ndim)


def moments(x, axis=1):
    """(count, mean, m2) of each channel."""
    x = x.astype(np.float64)
    mean = x.mean(_others(x, axis), keepdims=True)
    mean += (x - mean).mean(_others(x, axis), keepdims=True)  # what the first division rounded away
    m2 = ((x - mean) ** 2).sum(_others(x, axis))
    return x.size // x.shape[axis], mean.ravel(), m2


def forward(x, weight, bias, eps=1e-5, axis=1, mean=None, var=None):
    """Normalize with the batch's statistics, or with those given."""
    if mean is None:
        count, mean, m2 = moments(x, axis)
        var = m2 / count
    rstd = 1 / np.sqrt(np.asarray(var, np.float64) + eps)
    x_hat = (x.astype(np.float64) - _spread(mean, x, axis)) * _spread(rstd, x, axis)
    return x_hat * _spread(weight, x, axis) + _spread(bias, x, axis)


def backward(dy, x, weight, eps=1e-5, axis=1, mean=None, var=None):
    """(dx, dweight, dbias); the statistics are constants where they are given."""
    constant = mean is not None
    if not constant:
        count, mean, m2 = moments(x, axis)
        var = m2 / count
    rstd = 1 / np.sqrt(np.asarray(var, np.float64) + eps)
    dy = dy.astype(np.float64)
    x_hat = (x.astype(np.float64) - _spread(mean, x, axis)) * _spread(rstd, x, axis)
    dbias = dy.sum(_others(x, axis))
    dweight = (dy * x_hat).sum(_others(x, axis))
    scale = _spread(rstd * weight, x, axis)
    if constant:
        return dy * scale, dweight, dbias
    count = x.size // x.shape[axis]
    mean_dy, slope = _spread(dbias / count, x, axis), _spread(dweight / count, x, axis)
    return (dy - mean_dy - x_hat * slope) * scale, dweight, dbias
