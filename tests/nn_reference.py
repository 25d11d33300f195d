"""Convolution and pooling are loops here, in float64: the fast layers are checked against them."""

import numpy as np


def pad(x, before, after, value=0.0):
    """Put `value` around each image of (N, C, H, W)."""
    sides = [(0, 0), (0, 0), *zip(before, after, strict=True)]
    return np.pad(x.astype(np.float64), sides, constant_values=value)


def windows(size, kernel, stride, dilation):
    """Return where the kernel starts along one axis."""
    return range(0, size - dilation * (kernel - 1), stride)


def conv2d(x, weight, bias, stride, before, after, dilation, groups):
    x = pad(x, before, after)
    o, cg, kh, kw = weight.shape
    rows = windows(x.shape[2], kh, stride[0], dilation[0])
    columns = windows(x.shape[3], kw, stride[1], dilation[1])
    y = np.zeros((len(x), o, len(rows), len(columns)))
    for k in range(o):
        first = k // (o // groups) * cg
        for i, top in enumerate(rows):
            for j, left in enumerate(columns):
                patch = x[
                    :,
                    first : first + cg,
                    top : top + dilation[0] * kh : dilation[0],
                    left : left + dilation[1] * kw : dilation[1],
                ][:, :, :kh, :kw]
                y[:, k, i, j] = (patch * weight[k]).sum(axis=(1, 2, 3)) + bias[k]
    return y


def conv2d_gradients(x, weight, dy, stride, before, after, dilation, groups):
    """Return dx and the gradients of the weight and the bias."""
    if groups > 1:
        parts = [np.split(a, groups, axis) for a, axis in ((x, 1), (weight, 0), (dy, 1))]
        steps = (stride, before, after, dilation)
        each = [conv2d_gradients(*part, *steps, 1) for part in zip(*parts, strict=True)]
        dxs, dweights, dbiases = zip(*each, strict=True)
        return np.concatenate(dxs, 1), np.concatenate(dweights), np.concatenate(dbiases)
    x = pad(x, before, after)
    weight, dy = weight.astype(np.float64), dy.astype(np.float64)
    dx, dweight = np.zeros_like(x), np.zeros_like(weight)
    kh, kw = weight.shape[2:]
    for i, top in enumerate(windows(x.shape[2], kh, stride[0], dilation[0])):
        for j, left in enumerate(windows(x.shape[3], kw, stride[1], dilation[1])):
            for k in range(kh):
                for m in range(kw):
                    row, column = top + k * dilation[0], left + m * dilation[1]
                    dweight[:, :, k, m] += dy[:, :, i, j].T @ x[:, :, row, column]
                    dx[:, :, row, column] += dy[:, :, i, j] @ weight[:, :, k, m]
    rows, columns = slice(before[0], x.shape[2] - after[0]), slice(before[1], x.shape[3] - after[1])
    return dx[:, :, rows, columns], dweight, dy.sum(axis=(0, 2, 3))


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
