"""The bits of statistics, and of all that the kernels compute, for tests of what changes none."""

import numpy as np

import bn


def everything(x, dy, axis):
    """Return all that the kernels compute of x and dy, as bytes."""
    channels = x.shape[axis]
    weight, bias = np.linspace(-2, 2, channels), np.linspace(0, 1, channels)
    s = bn.stats(x, axis)
    sums = bn.backward_reduce(dy, x, s.mean, axis=axis)
    y = bn.normalize(x, s.mean, s.var, weight, bias, axis=axis)
    dx = bn.backward_apply(dy, x, s.mean, s.var, weight, sums=sums, axis=axis)
    arrays = [s.mean, s.m2, y, sums.dy, sums.dy_xmu, dx]

    y, s = bn.normalize_batch(x, weight, bias, axis=axis)
    dx, sums = bn.backward_batch(dy, x, s, weight, axis=axis)
    in_one_pass = [s.mean, s.m2, y, sums.dy, sums.dy_xmu, dx]
    assert [a.tobytes() for a in in_one_pass] == [a.tobytes() for a in arrays]

    for residual, activation in [(None, "leaky_relu"), (dy, "relu"), (dy, "relu6")]:
        options = {"axis": axis, "activation": activation}
        y, s = bn.normalize_batch(x, weight, bias, residual=residual, **options)
        g = np.empty_like(x)
        dx, sums = bn.backward_batch(
            dy, x, s, weight, bias=bias, y=residual if residual is None else y, dresidual=g,
            **options,
        )  # fmt: skip
        arrays += [y, dx, g, sums.dy, sums.dy_xmu]
    return [a.tobytes() for a in arrays]


def of_stats(stats):
    """Return the arrays of a Stats as bytes."""
    return [array.tobytes() for array in (stats.count, stats.mean, stats.m2)]
