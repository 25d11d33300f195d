"""The fuzz's table of more layers of images, and of those of signals, with answers in float64."""

import nn_reference
import numpy as np
from fuzz_arrays import FINITE, WIDE
from fuzz_law import close, entries, wide
from fuzz_nn import BAD_IMAGES, BAD_INPUT, ROUND, images, layer_case

from bn import nn

TABLE = {}
fuzzed = entries(TABLE)
BAD_SIGNALS = [*BAD_INPUT, lambda x: x[0], lambda x: x[..., None]]


def signals(draw, channels, smallest=1):
    n, length = draw.pick([1, 1, 2, 3]), smallest + draw.pick([0, 1, 2, 5, 8, 30])
    return draw.array((n, channels, length), draw.pick(WIDE), ROUND)


# ---- convolutions ----


@fuzzed("Conv1d")
def conv1d(draw):
    groups = draw.pick([1, 1, 2, 5])
    before, after = groups * draw.pick([1, 2, 3, 17]), groups * draw.pick([1, 2, 16])
    kernel, stride, padding = draw.pick([1, 2, 3]), draw.pick([1, 1, 2]), draw.pick([0, 1, 2])
    dilation = draw.pick([1, 1, 2])
    x = signals(draw, before, 5)
    layer = nn.Conv1d(
        before, after, kernel, stride, padding, dilation, groups, rng=0, dtype=draw.pick(WIDE)
    )
    window, w, b = layer.window, wide(layer.weight.data), wide(layer.bias.data)
    how = (window.stride, window.before, window.after, window.dilation, groups)

    def check(y, dx, dy):
        images, dout = (wide(a)[:, :, None] for a in (x, dy))
        largest, most, g = (np.abs(wide(a)).max(initial=0) for a in (x, w, dy))
        terms = before // groups * kernel
        expected = nn_reference.conv2d(images, w[:, :, None], b, *how)[:, :, 0]
        close(y, expected, largest * terms * most + 1, "y", 4)
        right = nn_reference.conv2d_gradients(images, w[:, :, None], dout, *how)
        close(dx, right[0][:, :, 0], after // groups * kernel * most * g, "dx", 4)
        close_gradients(layer, x, right[1][:, :, 0], right[2], dy[:, 0].size * g, largest)

    return layer_case(draw, layer, x, check, BAD_SIGNALS)


def close_gradients(layer, x, dweight, dbias, size, largest):
    """Compare the gradients of parameters, whose dtype may be another than that of x."""
    rounded = x.dtype != np.float64 and layer.weight.dtype == np.float64
    factor = 1e6 if rounded else 10
    close(layer.weight.grad, dweight, size * largest, "gradient of weight", factor)
    close(layer.bias.grad, dbias, size, "gradient of bias", factor)


@fuzzed("ConvTranspose2d")
def conv_transpose(draw):
    groups = draw.pick([1, 1, 2, 5])
    before, after = groups * draw.pick([1, 2, 7, 16]), groups * draw.pick([1, 2, 3, 17])
    kernel, stride = (draw.pick([1, 2, 3]), draw.pick([1, 3])), draw.pick([1, 2, 3])
    padding, dilation = draw.pick([0, 0, 1]), draw.pick([1, 1, 2])
    x = images(draw, before, 3)
    layer = nn.ConvTranspose2d(
        before, after, kernel, stride, padding, 0, groups, True, dilation, rng=0,
        dtype=draw.pick(WIDE),
    )  # fmt: skip
    window, w, b = layer.window, wide(layer.weight.data), wide(layer.bias.data)
    how = (window.stride, window.before, window.after, window.dilation, groups)

    def check(y, dx, dy):
        largest, most, g = (np.abs(wide(a)).max(initial=0) for a in (x, w, dy))
        taps = kernel[0] * kernel[1]
        right = nn_reference.conv2d_gradients(dy, w, x, *how)
        size = before // groups * taps * most * largest + 1
        close(y, right[0] + b[:, None, None], size, "y", 4)
        expected = nn_reference.conv2d(dy, w, np.zeros(before), *how)
        close(dx, expected, after // groups * taps * most * g, "dx", 4)
        dbias = wide(dy).sum((0, 2, 3))
        close_gradients(layer, x, right[1], dbias, dy[:, 0].size * g, largest)

    return layer_case(draw, layer, x, check, BAD_IMAGES)


# ---- pools of signals ----


@fuzzed("MaxPool1d", "AvgPool1d")
def pool1d(draw):
    kernel, stride = draw.pick([1, 2, 3, 5]), draw.pick([1, 2, 3])
    padding, kind = draw.pick([0, kernel // 2]), draw.pick([nn.MaxPool1d, nn.AvgPool1d])
    x = signals(draw, draw.pick([1, 2, 3, 17]), 5)
    layer = kind(kernel, stride, padding, ceil_mode=True)
    reduce, value = (np.nanmax, np.nan) if kind is nn.MaxPool1d else (np.nanmean, 0.0)

    def pooled(a):
        how = (1, kernel), (1, stride), (0, padding), reduce, value
        return nn_reference.ceil_pool2d(wide(a)[:, :, None], *how)[:, :, 0]

    def check(y, dx, dy):
        close(y, pooled(x), np.abs(wide(x)).max(), "y")
        assert dx.shape == x.shape
        if kind is nn.MaxPool1d:
            size = np.abs(wide(dy)).sum()
            close(np.asarray(wide(dx).sum(), x.dtype), wide(dy).sum(), size, "sum of dx", 4)
            return
        probe = draw.rng.standard_normal(x.shape)  # the pooling is linear, and dx its transpose
        size = np.abs(wide(dy)).sum() * 10
        expected = (wide(dy) * pooled(probe)).sum()
        close(np.asarray((wide(dx) * probe).sum(), x.dtype), expected, size, "dx", 4)

    return layer_case(draw, layer, x, check, BAD_SIGNALS)


# ---- images of another size ----


def resampled(draw, layer, x, rows, columns):
    """Return the case of a layer that multiplies images with a matrix on each side."""

    def check(y, dx, dy):
        sizes = np.abs(rows), np.abs(columns)
        expected = nn_reference.resample(wide(x), rows, columns)
        close(y, expected, nn_reference.resample(np.abs(wide(x)), *sizes), "y", 4)
        right = nn_reference.resample(wide(dy), rows.T, columns.T)
        size = nn_reference.resample(np.abs(wide(dy)), *(m.T for m in sizes))
        # A weight is exact to about a digit of 1, also where it is nearly 0 itself.
        close(dx, right, size + 1e-4 * np.abs(wide(dy)).max(initial=0), "dx", 4)

    return layer_case(draw, layer, x, check, BAD_IMAGES[:-3])


def some_images(draw, smallest=1):
    return images(draw, draw.pick([1, 2, 3, 7, 17, 33]), smallest)


@fuzzed("AdaptiveAvgPool2d")
def adaptive(draw):
    x, out = some_images(draw), (draw.pick([1, 2, 5, 11]), draw.pick([1, 3, 7]))
    if draw.pick([True, False]):
        out = (1, 1)
    sizes = zip(x.shape[2:], out, strict=True)
    matrices = (nn_reference.means_matrix(n, m) for n, m in sizes)
    return resampled(draw, nn.AdaptiveAvgPool2d(out), x, *matrices)


@fuzzed("Upsample")
def upsample(draw):
    x, corners = some_images(draw), draw.pick([None, True, False, "nearest"])
    out = [draw.pick([1, 2, 3, 7, 16, 31]) for _ in range(2)]
    if corners == "nearest":
        factor = draw.pick([1, 2, 3, 4])
        matrices = (nn_reference.nearest_matrix(n, factor * n) for n in x.shape[2:])
        return resampled(draw, nn.Upsample(scale_factor=factor), x, *matrices)
    sizes = zip(x.shape[2:], out, strict=True)
    matrices = (nn_reference.linear_matrix(n, m, bool(corners)) for n, m in sizes)
    layer = nn.Upsample(tuple(out), mode="bilinear", align_corners=corners)
    return resampled(draw, layer, x, *matrices)


@fuzzed("ZeroPad2d")
def zero_pad(draw):
    x, sides = some_images(draw, 3), [draw.pick([0, 1, 2, 5, -1]) for _ in range(4)]
    rows = nn_reference.padding_matrix(x.shape[2], *sides[2:])
    columns = nn_reference.padding_matrix(x.shape[3], *sides[:2])
    return resampled(draw, nn.ZeroPad2d(tuple(sides)), x, rows, columns)


@fuzzed("Dropout2d")
def dropout2d(draw):
    x, p = images(draw, draw.pick([1, 3, 17]), kinds=FINITE), draw.pick([0, 0.3, 1.0])

    def check(y, dx, dy):
        scale = 1 / (1 - p) if p < 1 else 1
        dropped = (wide(y) == 0).all((2, 3), keepdims=True)
        close(y, np.where(dropped, 0, wide(x) * scale), np.abs(wide(x)) * scale, "y")
        if (wide(x) != 0).any((2, 3)).all():
            expected = np.where(dropped, 0, wide(dy) * scale)
            close(dx, expected, np.abs(expected), "dx")

    return layer_case(draw, nn.Dropout2d(p, rng=0), x, check, BAD_IMAGES[:-3])
