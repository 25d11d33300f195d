"""Convolution and pooling are loops here, in float64: the fast layers are checked against them."""

import numpy as np


def pad(x, before, after, value=0.0):
    """Put `value` around each image of (N, C, H, W)."""
    sides = [(0, 0), (0, 0), *zip(before, after, strict=True)]
    return np.pad(x.astype(np.float64), sides, constant_values=value)


def windows(size, kernel, stride, dilation):
    """Return where the kernel starts along one axis."""
    return range(0, size - dilation * (kernel - 1), stride)


def taps(x, weight, stride, dilation):
    """Yield for each output pixel and tap: row, column, and the tap's row and column in x and w."""
    kh, kw = weight.shape[2:]
    for i, top in enumerate(windows(x.shape[2], kh, stride[0], dilation[0])):
        for j, left in enumerate(windows(x.shape[3], kw, stride[1], dilation[1])):
            for k in range(kh):
                for m in range(kw):
                    yield i, j, k, m, top + k * dilation[0], left + m * dilation[1]


def conv2d(x, weight, bias, stride, before, after, dilation, groups):
    x, w = pad(x, before, after), grouped(weight.astype(np.float64), 0, groups)
    rows = windows(x.shape[2], weight.shape[2], stride[0], dilation[0])
    columns = windows(x.shape[3], weight.shape[3], stride[1], dilation[1])
    y = np.zeros((len(x), groups, len(weight) // groups, len(rows), len(columns)))
    x = grouped(x, 1, groups)  # (N, G, C / G, H, W)
    for i, j, k, m, row, column in taps(x[:, 0], weight, stride, dilation):
        y[..., i, j] += np.einsum("ngc,goc->ngo", x[..., row, column], w[..., k, m])
    return y.reshape(len(x), len(weight), *y.shape[3:]) + np.reshape(bias, (-1, 1, 1))


def conv2d_gradients(x, weight, dy, stride, before, after, dilation, groups):
    """Return dx and the gradients of the weight and the bias."""
    x = grouped(pad(x, before, after), 1, groups)
    w, g = grouped(weight.astype(np.float64), 0, groups), grouped(dy.astype(np.float64), 1, groups)
    dx, dweight = np.zeros_like(x), np.zeros_like(w)
    for i, j, k, m, row, column in taps(x[:, 0], weight, stride, dilation):
        dweight[..., k, m] += np.einsum("ngo,ngc->goc", g[..., i, j], x[..., row, column])
        dx[..., row, column] += np.einsum("ngo,goc->ngc", g[..., i, j], w[..., k, m])
    dx = dx.reshape(len(x), -1, *x.shape[3:])
    rows, columns = slice(before[0], x.shape[3] - after[0]), slice(before[1], x.shape[4] - after[1])
    dx = dx[:, :, rows, columns]
    return dx, dweight.reshape(weight.shape), g.sum(axis=(0, 3, 4)).ravel()


def grouped(a, axis, groups):
    """Split an axis into (groups, the rest)."""
    shape = a.shape
    return a.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def pool2d(x, kernel, stride, padding, reduce, value):
    x = pad(x, padding, padding, value)
    rows = windows(x.shape[2], kernel[0], stride[0], 1)
    columns = windows(x.shape[3], kernel[1], stride[1], 1)
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            patch = x[:, :, top : top + kernel[0], left : left + kernel[1]]
            y[:, :, i, j] = reduce(patch, axis=(2, 3))
    return y


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def channels_first(x):
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def ceil_pool2d(x, kernel, stride, padding, reduce, value):
    """Pool as pool2d does, with the windows that begin inside of the image and end beyond it.

    What lies beyond the padding is NaN, which `reduce` must leave out.
    """
    outer = []
    for n, k, s, p in zip(x.shape[2:], kernel, stride, padding, strict=True):
        last = min(-(-(n + 2 * p - k) // s), (n + p - 1) // s)  # the number of the last window
        outer.append(max(0, last * s + k - n - 2 * p))
    x = pad(pad(x, padding, padding, value), (0, 0), outer, np.nan)
    return pool2d(x, kernel, stride, (0, 0), reduce, value)


# ---- images of another size, as products with a matrix on each side ----


def nearest_matrix(inputs, outputs):
    """Each output is one input."""
    return np.eye(inputs)[np.arange(outputs) * inputs // outputs]


def linear_matrix(inputs, outputs, align_corners):
    """Each output is interpolated between the inputs beside its position."""
    if align_corners:
        position = np.arange(outputs) * ((inputs - 1) / max(1, outputs - 1))
    else:
        position = (np.arange(outputs) + 0.5) * (inputs / outputs) - 0.5
    position = np.clip(position, 0, inputs - 1)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(inputs)))


def means_matrix(inputs, outputs):
    """Each output is the mean of a window."""
    matrix = np.zeros((outputs, inputs))
    for i in range(outputs):
        window = slice(i * inputs // outputs, -(-(i + 1) * inputs // outputs))
        matrix[i, window] = 1 / (window.stop - window.start)
    return matrix


def padding_matrix(inputs, before, after):
    """Each output is an input, or zero."""
    return np.eye(inputs + before + after, inputs, -before)


def resample(x, rows, columns):
    return np.einsum("ih,nchw,jw->ncij", rows, x.astype(np.float64), columns)
