"""The fuzz's table of layer, RMS, group and instance normalization, with answers in float64."""

import numpy as np
from fuzz_arrays import (
    BAD_AXES,
    BAD_EPS,
    BAD_LIKE,
    BAD_NUMBERS,
    BAD_SHAPE,
    BAD_TENSOR,
    FLOATS,
    HUGE,
    constant,
    far,
    normal,
    special,
)
from fuzz_law import Case, close, entries, wide

import bn
from bn import nn, onnx

TABLE = {}
fuzzed = entries(TABLE)
KINDS = [normal, normal, far, constant, special]
SIZES = [0, 1, 2, 3, 5, 7, 11, 17]
BAD_PARAMETER = [*BAD_TENSOR[1:], *BAD_SHAPE, lambda a: np.zeros(a.shape, np.float16)]
BAD_WHOLE = [0, -2, 1.5, "1", True, np.nan, np.ones(3), 1j, None]
BAD_FLAG = [None, "yes", 3, np.ones(2)]


def answer(x, axes, weight, bias, eps, about_zero=False):
    """Return y, the size of its terms, and dx with its size as a function of dy."""
    x = wide(x)
    with np.errstate(all="ignore"):
        mean = 0 * x.mean(axes, keepdims=True) if about_zero else x.mean(axes, keepdims=True)
        rstd = 1 / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + eps)
        xhat = (x - mean) * rstd
        lost = np.spacing(np.abs(mean).astype(np.float32)) * rstd
        size = (np.abs(xhat) + lost + 1) * np.abs(weight) + np.abs(bias)

    def gradient(dy):
        with np.errstate(all="ignore"):
            g = wide(dy) * weight
            own = 0 if about_zero else g.mean(axes, keepdims=True)
            dx = rstd * (g - own - xhat * (g * xhat).mean(axes, keepdims=True))
            terms = np.abs(g).mean(axes, keepdims=True)
            products = np.abs(g * (np.abs(xhat) + lost)).mean(axes, keepdims=True)
            return dx, rstd * (np.abs(g) + terms + (np.abs(xhat) + lost) * products)

    return xhat * weight + bias, size, gradient


def rows(draw):
    """Return x, how many of its last axes are a row, and their lengths."""
    x = draw.array(draw.shape(low=1, high=4, sizes=SIZES[1:]), draw.pick(FLOATS), KINDS)
    number = draw.pick(range(1, x.ndim + 1))
    return x, number, x.shape[x.ndim - number :]


def parameter(draw, shape):
    dtype = draw.pick([np.float32, np.float64])
    return draw.array(shape, dtype, [normal]) if draw.often() else None


def one_or(value, default):
    return default if value is None else wide(value)


def last_axes(number):
    return tuple(range(-number, 0))


@fuzzed("layer_norm")
def layer_norm(draw):
    x, number, shape = rows(draw)
    weight, bias = parameter(draw, shape), parameter(draw, shape)

    def check(found):
        y, size, _ = answer(x, last_axes(number), one_or(weight, 1), one_or(bias, 0), 1e-3)
        assert found.dtype == x.dtype
        close(found, y, size, "y")

    values = {"x": x, "normalized_shape": shape, "weight": weight, "bias": bias, "eps": 1e-3}
    case = Case(bn.layer_norm, values, check, said=("input",))
    bad = {} if weight is None else {"weight": BAD_PARAMETER}
    return case.spoil(
        draw, x=BAD_TENSOR, normalized_shape=["3", 1.5, None, 0, -1, (2, 0), 10**30, ()],
        eps=BAD_EPS, **bad,
    )  # fmt: skip


@fuzzed("rms_norm")
def rms_norm(draw):
    x, number, shape = rows(draw)
    weight = parameter(draw, shape)

    def check(found):
        y, size, _ = answer(x, last_axes(number), one_or(weight, 1), 0, 1e-3, True)
        close(found, y, size, "y")

    values = {"x": x, "normalized_shape": shape, "weight": weight, "eps": 1e-3}
    case = Case(bn.rms_norm, values, check)
    bad_eps = [eps for eps in BAD_EPS if eps is not None]
    return case.spoil(draw, x=BAD_TENSOR, eps=bad_eps, normalized_shape=["3", 0, 1.5])


def grouped(draw, low=2, more=0):
    """Return x with channels on some axis, this axis, and a number of groups."""
    shape = draw.shape(low=low, high=5, sizes=SIZES)
    x = draw.array((shape[0] + 1, *(n + more for n in shape[1:])), draw.pick(FLOATS), KINDS)
    axis = draw.pick([1, -1])
    channels = x.shape[axis]
    divisors = [g for g in range(1, channels + 1) if channels % g == 0]
    return x, axis, draw.pick(divisors) if divisors else 1


def group_answer(x, axis, groups, weight, bias):
    """Return what `answer` does, for groups of channels."""
    first = np.moveaxis(wide(x), axis, 1)
    shape = first.shape
    if first.size == 0:
        return wide(x), wide(x), lambda dy: (wide(x), wide(x))

    def of_channels(values):
        spread = np.broadcast_to(values.reshape(-1, *[1] * (len(shape) - 2)), shape[1:])
        return spread.reshape(1, groups, -1)

    y, size, gradient = answer(
        first.reshape(len(x), groups, -1), 2, of_channels(weight), of_channels(bias), 1e-3
    )

    def back(a):
        return np.moveaxis(a.reshape(shape), 1, axis)

    def gradient_like_x(dy):
        moved = np.moveaxis(wide(dy), axis, 1).reshape(len(x), groups, -1)
        return tuple(back(a) for a in gradient(moved))

    return back(y), back(size), gradient_like_x


@fuzzed("group_norm", "instance_norm")
def group_norm(draw):
    instances = draw.pick([True, False])
    x, axis, groups = grouped(draw, low=3 if instances else 2, more=1)
    channels = x.shape[axis]
    groups = channels if instances else groups
    values = {"x": x, "axis": axis, "eps": 1e-3}
    weight, bias = parameter(draw, (channels,)), parameter(draw, (channels,))

    def check(found):
        ones, zeros = np.ones(channels), np.zeros(channels)
        y, size, _ = group_answer(x, axis, groups, one_or(weight, ones), one_or(bias, zeros))
        assert found.dtype == x.dtype
        close(found, y, size, "y")

    bad = {"x": BAD_TENSOR, "eps": BAD_EPS, "axis": [*BAD_AXES, 0]}
    if weight is not None:
        bad["weight"] = BAD_PARAMETER
    values |= {"weight": weight, "bias": bias}
    if instances:
        places = x.size // max(1, len(x) * channels)
        case = Case(bn.instance_norm, values, check)
        case.bad = "input" if places == 1 and x.size else None
        bad |= {"momentum": [*BAD_NUMBERS, None], "use_input_stats": BAD_FLAG}
    else:
        case = Case(bn.group_norm, {**values, "num_groups": groups}, check)
        case.bad = "input" if x.size == groups else None
        bad["num_groups"] = [*BAD_WHOLE, channels + 1, HUGE]
    return case if case.bad else case.spoil(draw, **bad)


def there_and_back(layer):
    def call(x, dy):
        y = layer(x)
        return np.array(y), layer.backward(dy)

    return call


def with_parameters(draw, layer):
    for p in layer.parameters():
        p.data[...] = draw.rng.standard_normal(p.shape)
    return layer


@fuzzed("LayerNorm", "RMSNorm", "LayerNormalization")
def row_layers(draw):
    x, number, shape = rows(draw)
    if x.ndim == number:
        x = draw.array((2, *x.shape), x.dtype, KINDS)
    about_zero = draw.pick([True, False, None])
    if about_zero is None:
        layer = bn.LayerNormalization(list(last_axes(number)), 1e-3)
        layer.build(x.shape[1:])
    else:
        layer = (bn.RMSNorm if about_zero else bn.LayerNorm)(shape, 1e-3)
    with_parameters(draw, layer)
    dy = draw.like(x, [normal])
    weight, bias = wide(layer.weight.data), 0 if about_zero else wide(layer.bias.data)

    def check(found):
        y, size, gradient = answer(x, last_axes(number), weight, bias, 1e-3, bool(about_zero))
        close(found[0], y, size, "y")
        dx, size = gradient(dy)
        close(found[1], dx, size, "dx")

    case = Case(there_and_back(layer), {"x": x, "dy": dy}, check)
    return case.spoil(draw, x=BAD_TENSOR, dy=BAD_LIKE)


INSTANCES = {3: bn.InstanceNorm1d, 4: bn.InstanceNorm2d, 5: bn.InstanceNorm3d}


@fuzzed(
    "GroupNorm", "GroupNormalization", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"
)  # fmt: skip
def group_layers(draw):
    x, axis, groups = grouped(draw, low=3, more=1)
    channels = x.shape[axis]
    kind = draw.pick(["torch", "keras", "instance"])
    if kind == "instance" and (x.ndim not in INSTANCES or x.size <= len(x) * channels):
        kind = "torch"
    if kind == "instance":
        groups = channels
        layer = INSTANCES[x.ndim](channels, 1e-3, affine=True, axis=axis)
    elif kind == "torch":
        layer = bn.GroupNorm(groups, channels, 1e-3, axis=axis)
    else:
        layer = bn.GroupNormalization(groups, axis, 1e-3)
        layer.build(x.shape[1:])
    with_parameters(draw, layer)
    dy = draw.like(x, [normal])
    weight, bias = wide(layer.weight.data), wide(layer.bias.data)

    def check(found):
        y, size, gradient = group_answer(x, axis, groups, weight, bias)
        close(found[0], y, size, "y")
        dx, size = gradient(dy)
        close(found[1], dx, size, "dx")

    case = Case(there_and_back(layer), {"x": x, "dy": dy}, check, said=("input",))
    return case.spoil(draw, x=BAD_TENSOR, dy=BAD_LIKE)


BAD_STASH = [2, "1", None, 1.5]


@fuzzed("onnx.LayerNormalization", "onnx.RMSNormalization")
def onnx_rows(draw):
    x, number, shape = rows(draw)
    about_zero = draw.pick([True, False])
    scale = draw.array(shape, draw.pick(FLOATS), [normal])
    function = onnx.RMSNormalization if about_zero else onnx.LayerNormalization
    name = "scale" if about_zero else "Scale"

    def check(found):
        y, size, _ = answer(x, last_axes(number), wide(scale), 0, 1e-3, about_zero)
        close(found if about_zero else found[0], y, size, "Y")

    values = {"X": x, name: scale, "axis": -number, "epsilon": 1e-3}
    case = Case(function, values, check)
    bad_scale = [*BAD_TENSOR, lambda a: np.zeros((*a.shape, 2), a.dtype)]
    return case.spoil(
        draw, X=BAD_TENSOR, epsilon=BAD_EPS, axis=BAD_AXES, stash_type=BAD_STASH,
        **{name: bad_scale},
    )  # fmt: skip


@fuzzed("onnx.GroupNormalization", "onnx.InstanceNormalization")
def onnx_groups(draw):
    x, _, _ = grouped(draw)
    channels, instances = x.shape[1], draw.pick([True, False])
    groups = draw.pick([g for g in range(1, channels + 1) if channels % g == 0] or [1])
    groups = channels if instances else groups
    scale, shift = (draw.array((channels,), draw.pick(FLOATS), [normal]) for _ in range(2))

    def check(found):
        y, size, _ = group_answer(x, 1, groups, wide(scale), wide(shift))
        close(found, y, size, "Y")

    bad = {"scale": [*BAD_TENSOR, *BAD_SHAPE], "epsilon": BAD_EPS}
    if instances:
        values = {"input": x, "scale": scale, "B": shift, "epsilon": 1e-3}
        return Case(onnx.InstanceNormalization, values, check).spoil(draw, input=BAD_TENSOR, **bad)
    values = {"X": x, "scale": scale, "bias": shift, "num_groups": groups, "epsilon": 1e-3}
    return Case(onnx.GroupNormalization, values, check).spoil(
        draw, X=BAD_TENSOR, num_groups=BAD_WHOLE, stash_type=BAD_STASH,
        opset=[17, 22, None, 18.0, 10**30], **bad,
    )  # fmt: skip


@fuzzed("WeightStandardization")
def weight_standardization(draw):
    features, outputs = draw.pick([2, 3, 7, 17]), draw.pick([1, 2, 5])
    x = draw.array((draw.pick([1, 2, 5]), features), np.float64, [normal])
    layer = nn.WeightStandardization(nn.Linear(features, outputs, rng=0, dtype=np.float64))
    dy = draw.array((len(x), outputs), np.float64, [normal])
    weight, bias = wide(layer.layer.weight.data), wide(layer.layer.bias.data)

    def check(found):
        rstd = 1 / np.sqrt(weight.var(1, keepdims=True) + 1e-5)
        standardized = (weight - weight.mean(1, keepdims=True)) * rstd
        size = np.abs(wide(x)) @ np.abs(standardized).T
        close(found[0], wide(x) @ standardized.T + bias, size + np.abs(bias), "y")
        close(found[1], wide(dy) @ standardized, np.abs(wide(dy)) @ np.abs(standardized), "dx")

    case = Case(there_and_back(layer), {"x": x, "dy": dy}, check)
    return case.spoil(draw, x=BAD_TENSOR[1:], dy=BAD_LIKE)


@fuzzed(
    "layer_norm_double_backward", "rms_norm_double_backward", "group_norm_double_backward"
)  # fmt: skip
def sample_double_backward(draw):
    """A penalty Σ dx² / 2 is of degree 2 in dy, whatever else its gradients are."""
    x = draw.array(
        (draw.pick([1, 2, 3]), draw.pick([2, 4, 8]), draw.pick([1, 3, 5])), np.float64, [normal]
    )
    dy = draw.array(x.shape, np.float64, [normal])
    kind, length = draw.pick(["layer", "rms", "group"]), x.shape[-1]
    layer = {
        "layer": lambda: bn.LayerNorm(length, dtype=np.float64),
        "rms": lambda: bn.RMSNorm(length, 1e-5, dtype=np.float64),
        "group": lambda: bn.GroupNorm(2, x.shape[1], dtype=np.float64),
    }[kind]()
    with_parameters(draw, layer)
    layer(x)
    ddx = layer.backward(dy)
    values = {"ddx": ddx, "ddweight": None, "dy": dy, "x": x, "weight": layer.weight.data}
    values |= {"num_groups": 2} if kind == "group" else {"normalized_shape": length}
    values |= {"eps": 1e-5} | ({} if kind == "rms" else {"ddbias": None})
    size = np.sum(ddx**2)

    def check(found):
        close(np.sum(found[0] * dy), size, size + 1e-9, "ddy", 1e4)

    case = Case(getattr(bn, f"{kind}_norm_double_backward"), values, check)
    bad_eps = [eps for eps in BAD_EPS if eps is not None]
    return case.spoil(draw, dy=BAD_LIKE, ddx=BAD_LIKE[1:], weight=BAD_PARAMETER, eps=bad_eps)
