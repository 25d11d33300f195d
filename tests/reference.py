"""Batch normalization in float64 NumPy: the oracle of the tests.

docs/derivation.md derives these functions one after the other and shows their source. A tensor is
taken apart into columns, one for each channel: an array of shape (M, C), beside vectors of shape
(C,).
"""

import numpy as np


def columns(x, axis):
    """The values of x in float64, one column for each channel."""
    return np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1).T.astype(np.float64)


def tensor(values, x, axis):
    """Columns in the shape of x again."""
    return np.moveaxis(values.T.reshape(np.moveaxis(x, axis, 0).shape), 0, axis)


# ---- statistics ----


def moments(x, axis=1):
    """(count, mean, m2) of each channel."""
    x = columns(x, axis)
    mean = x.mean(0)
    mean += (x - mean).mean(0)  # what the first division rounded away
    m2 = ((x - mean) ** 2).sum(0)
    return len(x), mean, m2


def guess_shift(x, samples=4):
    """The mean of a few values that are spread over the channel."""
    turns = (np.arange(samples) + 0.5) * 0.6180339887498949
    places = (turns % 1 * len(x)).astype(int)
    return x[places].mean(0)


def shifted_moments(x, axis=1):
    """`moments` as the kernels find them: one pass in most cases, a second one in few."""
    arithmetic = np.float64 if x.dtype == np.float64 else np.float32
    x = columns(x, axis)
    shift = guess_shift(x).astype(arithmetic)
    for again in (False, True):
        d = x - shift
        sum_d, sum_dd = d.sum(0), (d * d).sum(0)
        distance = sum_d / len(x)
        mean = shift + distance
        m2 = np.maximum(sum_dd - sum_d * distance, 0)
        good = sum_dd <= 3 * m2
        if again or good.all():
            return len(x), mean, m2
        shift = np.where(good, shift, mean).astype(arithmetic)


# ---- normalization ----


def rstd(var, eps):
    """1 / sqrt(var + eps); 0 where var + eps is 0, and NaN where it is not a normal number."""
    total = np.asarray(var, np.float64) + eps
    limits = np.finfo(np.float64)
    normal = (total >= limits.tiny) & (total <= limits.max)
    return np.divide(1, np.sqrt(total), out=np.where(total == 0, 0.0, np.nan), where=normal)


def forward(x, weight, bias, eps=1e-5, axis=1, mean=None, var=None):
    """Normalize with the batch's statistics, or with those given."""
    if mean is None:
        count, mean, m2 = moments(x, axis)
        var = m2 / count
    scale = rstd(var, eps) * weight
    return tensor((columns(x, axis) - mean) * scale + bias, x, axis)


def prepare_normalize(mean, var, weight, bias, eps):
    """The coefficients of z = (x - mean) * scale + shift in float32."""
    scale = rstd(var, eps) * weight
    lost = mean - mean.astype(np.float32)  # what the nearest float32 lacks
    shift = bias - lost * scale
    return mean.astype(np.float32), scale.astype(np.float32), shift.astype(np.float32)


def normalize_float32(x, mean, var, weight, bias, eps=1e-5, axis=1):
    """`forward` with given statistics, in the arithmetic of the float32 kernels."""
    mean, scale, shift = prepare_normalize(mean, var, weight, bias, eps)
    return tensor((columns(x, axis).astype(np.float32) - mean) * scale + shift, x, axis)


# ---- running statistics ----


def unbiased_var(count, m2):
    """m2 / (M - 1); of a count below 2 twice the biased variance."""
    return m2 / np.maximum(count - 1, count / 2)


def commit(batch, running_mean, running_var, share, unbiased=True):
    """(running_mean, running_var) after a batch."""
    count, mean, m2 = batch
    var = unbiased_var(count, m2) if unbiased else m2 / count
    return (1 - share) * running_mean + share * mean, (1 - share) * running_var + share * var


def share_at(start, share, batches):
    """The share of batch number `batches`, the first one being 1."""
    if start == "cumulative" or (start == "first" and batches == 1):
        return 1 / batches
    if start == "debiased":
        return share / (1 - (1 - share) ** batches)
    return share


# ---- backward ----


def backward_sums(dy, x, mean, axis=1):
    """(count, sum_g, sum_g_xm): M, Σdy and Σdy·(x - mean) of each channel."""
    g, xm = columns(dy, axis), columns(x, axis) - mean
    return len(g), g.sum(0), (g * xm).sum(0)


def gradient(dy, x, mean, var, weight, sums, eps=1e-5, axis=1):
    """The gradient of x where mean and var are functions of x."""
    count, sum_g, sum_g_xm = sums
    r = rstd(var, eps)
    mean_g = sum_g / count
    slope = sum_g_xm / count * r * r
    g, xm = columns(dy, axis), columns(x, axis) - mean
    return tensor((g - mean_g - xm * slope) * (r * weight), x, axis)


def gradient_of_constants(dy, var, weight, eps=1e-5, axis=1):
    """The gradient of x where mean and var are constants."""
    return tensor(columns(dy, axis) * (rstd(var, eps) * weight), dy, axis)


def backward(dy, x, weight, eps=1e-5, axis=1, mean=None, var=None):
    """(dx, dweight, dbias); the statistics are constants where they are given."""
    constants = mean is not None
    if not constants:
        count, mean, m2 = moments(x, axis)
        var = m2 / count
    sums = _, sum_g, sum_g_xm = backward_sums(dy, x, mean, axis)
    if constants:
        dx = gradient_of_constants(dy, var, weight, eps, axis)
    else:
        dx = gradient(dy, x, mean, var, weight, sums, eps, axis)
    return dx, sum_g_xm * rstd(var, eps), sum_g


def prepare_gradient(mean, var, sums, eps):
    """The coefficients of dx = (g - mean_g - (x - mean) * slope) * scale in float32."""
    count, sum_g, sum_g_xm = sums
    r = rstd(var, eps)
    slope = sum_g_xm / count * r * r
    lost = mean - mean.astype(np.float32)
    mean_g = sum_g / count - lost * slope
    return mean_g.astype(np.float32), slope.astype(np.float32)


def gradient_float32(dy, x, mean, var, weight, sums, eps=1e-5, axis=1):
    """`gradient` in the arithmetic of the float32 kernels."""
    mean_g, slope = prepare_gradient(mean, var, sums, eps)
    mean, scale, _ = prepare_normalize(mean, var, weight, 0, eps)
    g, x32 = (columns(a, axis).astype(np.float32) for a in (dy, x))
    return tensor((g - mean_g - (x32 - mean) * slope) * scale, x, axis)


def activate(z, negative_slope=0.0):
    """The leaky ReLU; the ReLU where negative_slope is 0."""
    return np.where(z < 0, z * negative_slope, z)


def gate(dy, z, negative_slope=0.0):
    """g, the gradient of z where dy is that of activate(z)."""
    return np.where(z > 0, dy, dy * negative_slope)


# ---- parts of a batch ----


def merge(a, b):
    """(count, mean, m2) of two sets of values together."""
    (count, mean, m2), (count_b, mean_b, m2_b) = a, b
    share = count_b / (count + count_b)
    delta = mean_b - mean
    return count + count_b, mean + delta * share, m2 + m2_b + delta * (count * share) * delta


def merge_sums(a, b):
    """`backward_sums` of two sets of values together, both about the mean of the whole."""
    return tuple(one + other for one, other in zip(a, b, strict=True))


# ---- masks and weights ----


def weighted_moments(x, weights, axis=1):
    """(count, mean, m2) where each value counts as often as its weight says."""
    x, w = columns(x, axis), columns(np.broadcast_to(weights, x.shape), axis)
    x = np.where(w > 0, x, 0)  # what does not count may be NaN
    count = w.sum(0)
    mean = (w * x).sum(0) / count
    m2 = (w * (x - mean) ** 2).sum(0)
    return count, mean, m2


def weighted_backward(dy, x, weight, weights, eps=1e-5, axis=1):
    """(dx, dweight, dbias) where mean and var are weighted."""
    count, mean, m2 = weighted_moments(x, weights, axis)
    var = m2 / count
    _, sum_g, sum_g_xm = backward_sums(dy, x, mean, axis)
    sums = count, sum_g, sum_g_xm
    through_statistics = gradient(np.zeros_like(dy), x, mean, var, weight, sums, eps, axis)
    dx = gradient_of_constants(dy, var, weight, eps, axis) + weights * through_statistics
    return dx, sum_g_xm * rstd(var, eps), sum_g


# ---- corrections ----


def renorm_correction(mean, var, renorm_mean, renorm_std, eps, rmin=0, rmax=np.inf, dmax=np.inf):
    """(r, d, slope) of batch renormalization."""
    r = np.sqrt(var + eps) / renorm_std
    d = (mean - renorm_mean) / renorm_std
    return np.clip(r, rmin, rmax), np.clip(d, -dmax, dmax), 1.0


def darknet_correction(count, m2, eps):
    """(r, d, slope) of Darknet's division by std + eps; x̂ is of eps = 0."""
    std = np.sqrt(unbiased_var(count, m2))
    return np.sqrt(m2 / count) / (std + eps), 0.0, std / (std + eps)


def corrected_forward(x, weight, bias, mean, var, correction, eps=1e-5, axis=1):
    """Normalize to (x̂ * r + d) * weight + bias."""
    r, d, _ = correction
    return forward(x, r * weight, d * weight + bias, eps, axis, mean, var)


def corrected_backward(dy, x, weight, mean, var, correction, eps=1e-5, axis=1):
    """(dx, dweight, dbias) of `corrected_forward`."""
    r, d, slope = correction
    count, sum_g, sum_g_xm = backward_sums(dy, x, mean, axis)
    sums = count, sum_g, sum_g_xm * slope
    dx = gradient(dy, x, mean, var, r * weight, sums, eps, axis)
    return dx, sum_g_xm * rstd(var, eps) * r + sum_g * d, sum_g
