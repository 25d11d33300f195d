"""The fuzz's table of the functions of `bn`, each with its answer in float64."""

from types import FunctionType

import accuracy
import numpy as np
import reference
from fuzz_arrays import (
    BAD_AXES,
    BAD_CHOICES,
    BAD_EPS,
    BAD_FLAG,
    BAD_LIKE,
    BAD_NUMBERS,
    BAD_OUT,
    BAD_SHAPE,
    BAD_TENSOR,
    BAD_VECTOR,
    BAD_X,
    FINITE,
    FLOATS,
    HUGE,
    IN_PLACE,
    KINDS,
    WIDE,
    one_further,
)
from fuzz_law import Case, close, entries, wide

import bn
from bn import onnx

TABLE = {}


fuzzed = entries(TABLE)


def tensor(draw, kinds=FINITE, **options):
    """Return x and its channel axis, perhaps counted from the back."""
    x = draw.array(draw.shape(**options), draw.pick(FLOATS), kinds)
    axis = draw.pick(range(-x.ndim, x.ndim))
    return x, axis


def moments(x, axis):
    """Return (count, mean, m2) in float64, zeros if x is empty."""
    if x.size == 0:
        return 0, np.zeros(x.shape[axis]), np.zeros(x.shape[axis])
    with np.errstate(all="ignore"):
        return reference.moments(wide(x), axis)


def statistics(draw, x, axis):
    """Return the mean and the variance of x, or others."""
    count, mean, m2 = moments(x, axis)
    if count and draw.often():
        return mean, m2 / count
    channels = x.shape[axis]
    return draw.vector(channels), draw.vector(channels, positive=True)


def along(values, x, axis):
    """Let the values of channels broadcast to x."""
    shape = [1] * x.ndim
    shape[axis] = -1
    return wide(values).reshape(shape)


def one_or(values, default):
    return default if values is None else wide(values)


def scale_of(var, weight, eps):
    return reference.rstd(wide(var), eps) * one_or(weight, 1.0)


def lost(mean, dtype):
    """Return a bound of what float32 lacks of the mean."""
    return np.spacing(np.abs(wide(mean)).astype(np.float32)).astype(float) * (dtype != np.float64)


# ---- statistics ----


def assert_stats(found, x, axis):
    count, mean, _ = moments(x, axis)
    assert found.count.tolist() == [count] * x.shape[axis]
    if not count:
        assert not found.mean.any() and not found.m2.any()
        return
    good = np.isfinite(mean)
    assert not np.isfinite(found.mean[~good]).any()
    good_x = np.compress(good, wide(x), axis).astype(x.dtype)
    kept = bn.Stats(*(v[good].copy() for v in (found.count, found.mean, found.m2)))
    if x.dtype == np.float64 and np.abs(good_x).max(initial=0) < 1e-300:
        close(kept.mean, mean[good], 0)  # rounded to a whole number of the smallest one
    elif good.any():
        accuracy.assert_moments(kept, good_x, axis)


@fuzzed("stats", "Stats")
def stats(draw):
    x, axis = tensor(draw, kinds=KINDS)
    case = Case(bn.stats, {"x": x, "axis": axis}, lambda s: assert_stats(s, x, axis))
    return case.spoil(draw, x=BAD_X, axis=BAD_AXES)


BAD_WEIGHTS = [
    lambda w: -1.0 - w,
    lambda w: w * np.nan,
    lambda w: w * 1j,
    lambda w: w.astype(str),
    lambda w: w.astype("M8[s]"),
    lambda w: w.tolist(),
    lambda w: np.ma.masked_array(w, np.ones(w.shape, bool)),
    lambda w: w[..., None],
    lambda w: 3.0,
]


@fuzzed("stats with weights")
def weighted(draw):
    x, axis = tensor(draw, sizes=[1, 2, 3, 5, 7, 11])
    shape = [draw.pick([1, n]) for n in x.shape]
    weights = draw.rng.integers(0, 3, shape).astype(draw.pick([*WIDE, np.int64, np.uint8]))

    def check(found):
        x64, w = wide(x), wide(weights)
        with np.errstate(all="ignore"):
            count, mean, m2 = reference.weighted_moments(x64, w, axis)
        close(found.count, count, count, "count")
        some = count > 0
        size = np.abs(reference.columns(x64, axis)).max(0)
        close(found.mean[some], mean[some], size[some], "mean")
        close(found.m2[some], m2[some], (m2 + count * size**2 * 1e-3)[some], "m2")

    case = Case(bn.stats, {"x": x, "axis": axis, "weights": weights}, check)
    return case.spoil(draw, x=BAD_X, axis=BAD_AXES, weights=BAD_WEIGHTS)


def part(draw, channels, kind=bn.Stats):
    count = draw.rng.integers(0, 5, channels).astype(float)
    other = [draw.rng.standard_normal(channels) * (count > 0) for _ in range(2)]
    if kind is bn.Stats:
        other[1] = abs(other[1])
    return kind(*(draw.pick(IN_PLACE)(v) for v in (count, *other)))


@fuzzed("merge", "BackwardSums")
def merge(draw):
    kind, channels = draw.pick([bn.Stats, bn.BackwardSums]), draw.pick([0, 1, 2, 7, 33])
    parts = [part(draw, channels, kind) for _ in range(draw.pick([1, 2, 3]))]

    def check(found):
        expected = [wide(v) for v in vars(parts[0]).values()]
        for p in parts[1:]:
            values = [wide(v) for v in vars(p).values()]
            if kind is bn.BackwardSums:
                expected = [a + b for a, b in zip(expected, values, strict=True)]
                continue
            with np.errstate(all="ignore"):
                merged = reference.merge(expected, values)
            expected = [
                np.where(values[0] > 0, a, b) for a, b in zip(merged, expected, strict=True)
            ]
        for name, right in zip(vars(parts[0]), expected, strict=True):
            close(getattr(found, name), right, np.abs(right) + 10, name)

    case = Case(bn.merge, {"parts": parts}, check, said=("each part",))
    return case.spoil(
        draw,
        parts=[None, 3, [], [3], "ab", [parts[0], "x"], np.ones(3), [part(draw, 50), parts[0]]],
    )


BAD_POLICY = ["drop", None, 3, np.array(["skip"]), ["skip"]]


@fuzzed("commit")
def commit(draw):
    channels = draw.pick([0, 1, 2, 7, 33])
    batch = part(draw, channels)
    running = [draw.rng.random(channels).astype(draw.pick(WIDE)) for _ in range(2)]
    running = [draw.pick(IN_PLACE)(v) for v in running]
    before, momentum = [wide(v) for v in running], draw.pick([0, 0.1, 1.0, np.float32(0.5), -3])
    unbiased = draw.pick([True, False])

    def check(found):
        assert found == 0
        count, mean, m2 = (wide(v) for v in vars(batch).values() if v.shape == (channels,))
        with np.errstate(all="ignore"):
            right = reference.commit((count, mean, m2), *before, float(momentum), unbiased)
        for now, old, value in zip(running, before, right, strict=True):
            expected = np.where(count > 0, value, old)
            close(now, expected, np.abs(old) * 4 + np.abs(expected) * 4 + 10)

    arguments = {
        "batch": batch, "running_mean": running[0], "running_var": running[1],
        "momentum": momentum, "unbiased": unbiased, "nonfinite": draw.pick(["skip", "propagate"]),
    }  # fmt: skip
    case = Case(bn.commit, arguments, check, outputs=("running_mean", "running_var"))
    vectors = [*BAD_VECTOR, BAD_OUT[-1]] if channels else BAD_VECTOR[:3]
    return case.spoil(
        draw, batch=[None, 3, running], running_mean=vectors, running_var=vectors,
        momentum=[*BAD_NUMBERS, None], nonfinite=BAD_POLICY, unbiased=BAD_FLAG,
    )  # fmt: skip


BAD_MASK = [lambda m: m.astype(int), lambda m: np.ones(3, bool), lambda m: "ab", lambda m: 1.0]


@fuzzed("position_weights")
def position_weights(draw):
    x, axis = tensor(draw, low=3, sizes=[1, 2, 3, 5])
    shape = [1 if i == axis % x.ndim else draw.pick([1, n]) for i, n in enumerate(x.shape)]
    mask = draw.rng.random(shape) < 0.5
    along_axis = 1 if axis % x.ndim != 1 else 2
    lengths = draw.rng.integers(0, x.shape[along_axis] + 1, len(x))
    sample_weight = draw.rng.integers(0, 4, len(x)).astype(draw.pick([float, int, np.float32]))

    def check(found):
        places = np.arange(x.shape[along_axis]).reshape([-1] + [1] * (x.ndim - 1 - along_axis))
        first = [len(x)] + [1] * (x.ndim - 1)
        expected = mask * (places < lengths.reshape(first)) * sample_weight.reshape(first)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(*np.broadcast_arrays(found, expected))

    arguments = {"x": x, "axis": axis, "mask": mask, "lengths": lengths}
    case = Case(bn.position_weights, {**arguments, "sample_weight": sample_weight}, check)
    masked = [lambda m: np.ma.masked_array(m, True)]
    return case.spoil(
        draw, x=BAD_X, axis=BAD_AXES, mask=[*BAD_MASK, *masked],
        lengths=[lambda n: n + 1000, lambda n: -1 - n, lambda n: n * 1.0, "a", [HUGE], *masked],
        sample_weight=[lambda w: -1.0 - w, lambda w: w * np.nan, lambda w: w * 1j, "a", *masked],
    )  # fmt: skip


# ---- forward ----


def activated(z, activation, slope):
    if activation is None:
        return z
    y = np.where(z < 0, z * slope if activation == "leaky_relu" else 0, z)
    return np.minimum(y, 6) if activation == "relu6" else y


def writeable(*arrays):
    return [a for a in arrays if a.flags.writeable]


def epilogue(draw, x):
    """Return out, residual, activation and negative_slope as options."""
    options = {
        "out": draw.pick([None, *writeable(x, x[:], one_further(x))]),
        "residual": draw.optional(draw.like(x, FINITE)),
        "activation": draw.pick([None, "relu", "leaky_relu", "relu6"]),
        "negative_slope": draw.pick([0.01, 0.5, 2, np.float32(0.25)]),
    }
    if draw.pick(range(3)) == 0:
        options["out"] = draw.pick(IN_PLACE)(np.zeros(x.shape, x.dtype))
    return options


BAD_EPILOGUE = {
    "out": BAD_OUT[1:],
    "residual": BAD_LIKE[1:],
    "activation": BAD_CHOICES,
    "negative_slope": [*BAD_NUMBERS, None],
}
BAD_OPTIONAL = BAD_VECTOR[1:]


def spoiled(draw, case, **candidates):
    """Spoil an argument, where what spoils it finds an array that it can spoil."""
    x = case.arguments.get("x")
    example = {"out": x, "residual": x, "dresidual": x, "y": x, "dy": x}
    channels = np.ones(x.shape[case.arguments["axis"]])
    bad = {}
    for name, choices in candidates.items():
        if name == "negative_slope" and case.arguments.get("activation") is None:
            continue  # nothing looks at it
        like = case.arguments.get(name)
        like = example.get(name, channels) if like is None else like
        like = np.array(like) if isinstance(like, np.ndarray) else like
        bad[name] = [
            (lambda _, c=c, like=like: c(like)) if isinstance(c, FunctionType) else c
            for c in choices
            if like is not None
        ]
    return case.spoil(draw, **bad)


@fuzzed("normalize")
def normalize(draw):
    x, axis = tensor(draw, kinds=KINDS)
    mean, var = statistics(draw, x, axis)
    if not (np.isfinite(mean).all() and np.isfinite(var).all()):
        mean, var = np.zeros(len(mean)), np.ones(len(var))
    if x.dtype in WIDE and x.ndim == 2 and axis in (1, -1) and len(x) and draw.pick([True, False]):
        mean = x[0]  # which is written over, if out is x
    center = along(mean, x, axis)
    weight, bias = (draw.optional(draw.vector(x.shape[axis])) for _ in range(2))
    options, eps = epilogue(draw, x), draw.pick([0, 1e-5, 1e-3, np.float32(1)])
    residual, old = options["residual"], wide(x)
    added = None if residual is None else wide(residual)

    def check(found):
        scale = along(scale_of(var, weight, float(eps)), x, axis)
        shift = along(one_or(bias, np.zeros(x.shape[axis])), x, axis)
        with np.errstate(all="ignore"):
            z = (old - center) * scale + shift + one_or(added, 0.0)
            size = np.abs(old - center) * np.abs(scale) + np.abs(shift)
        size = size + lost(center, x.dtype) * np.abs(scale)
        size = size + np.abs(one_or(added, 0.0)) + np.abs(scale) * 1e-37
        if x.dtype != np.float64:  # no float32 holds such a scale: y is infinite there
            size = np.where(np.abs(scale) > 1e38, np.inf, size)
        slope = float(options["negative_slope"])
        expected = activated(z, options["activation"], slope)
        assert found.dtype == x.dtype
        assert options["out"] is None or found is options["out"]
        close(found, expected, size * max(1, slope), "y")

    arguments = {"x": x, "mean": mean, "var": var, "weight": weight, "bias": bias, "eps": eps}
    case = Case(bn.normalize, {**arguments, "axis": axis, **options}, check, ("out",))
    return spoiled(
        draw, case, x=BAD_X, axis=BAD_AXES, mean=BAD_VECTOR, var=BAD_VECTOR, weight=BAD_OPTIONAL,
        bias=BAD_OPTIONAL, eps=BAD_EPS, **BAD_EPILOGUE,
    )  # fmt: skip


def assert_normalized(found, x, axis, weight, bias, eps, added, options):
    """Assert that y is right where the batch's own statistics normalize."""
    if x.size == 0:
        assert found.shape == x.shape
        return
    count, mean, m2 = moments(x, axis)
    scale = along(scale_of(m2 / count, weight, eps), x, axis)
    shift = along(one_or(bias, np.zeros(x.shape[axis])), x, axis)
    distance = np.abs(wide(x) - along(mean, x, axis))
    z = (wide(x) - along(mean, x, axis)) * scale + shift + one_or(added, 0.0)
    largest = reference.columns(np.abs(wide(x)), axis).max(0)
    size = (distance + along(lost(largest, x.dtype), x, axis)) * np.abs(scale) + np.abs(shift)
    size = size + np.abs(one_or(added, 0.0)) + np.abs(scale) * 1e-37
    size = size + along(np.abs(one_or(weight, np.ones(len(mean)))), x, axis)
    slope = float(options["negative_slope"])
    close(found, activated(z, options["activation"], slope), size * max(1, slope), "y")


NO_EPILOGUE = {"activation": None, "negative_slope": 0.01}


@fuzzed("normalize_batch")
def normalize_batch(draw):
    x, axis = tensor(draw, kinds=KINDS)
    weight, bias = (draw.optional(draw.vector(x.shape[axis])) for _ in range(2))
    options, eps, old = epilogue(draw, x), draw.pick([1e-5, 1e-3, np.float32(1)]), np.array(x)
    residual = options["residual"]
    added = None if residual is None else wide(residual)

    def check(found):
        y, batch = found
        assert_stats(batch, old, axis)
        assert options["out"] is None or y is options["out"]
        assert_normalized(y, old, axis, weight, bias, float(eps), added, options)

    arguments = {"x": x, "weight": weight, "bias": bias, "eps": eps, "axis": axis, **options}
    case = Case(bn.normalize_batch, arguments, check, ("out",))
    return spoiled(
        draw, case, x=BAD_X, axis=BAD_AXES, weight=BAD_OPTIONAL, bias=BAD_OPTIONAL, eps=BAD_EPS,
        **BAD_EPILOGUE,
    )  # fmt: skip


@fuzzed("batch_norm")
def batch_norm(draw):
    x, axis = tensor(draw)
    weight, bias = (draw.optional(draw.vector(x.shape[axis])) for _ in range(2))
    training = x.size > x.shape[axis] and draw.pick([True, False])
    running = [draw.rng.random(x.shape[axis]).astype(draw.pick(WIDE)) for _ in range(2)]
    before, old = [wide(v) for v in running], np.array(x)
    out = draw.pick([None, x if x.flags.writeable else None])

    def check(found):
        assert out is None or found is out
        if training:
            assert_normalized(found, old, axis, weight, bias, 1e-5, None, NO_EPILOGUE)
            right = reference.commit(moments(old, axis), *before, 0.1)
            largest = np.abs(reference.columns(wide(old), axis)).max(0, initial=0)
            for now, expected in zip(running, right, strict=True):
                size = np.abs(expected) + np.where(now is running[0], largest, 0) + 1
                factor = 1 if x.dtype == now.dtype == np.float64 else 1e5
                close(now, expected, size, "running statistics", factor)
            return
        scale = along(scale_of(before[1], weight, 1e-5), x, axis)
        shift = along(one_or(bias, np.zeros(x.shape[axis])), x, axis)
        z = (wide(old) - along(before[0], x, axis)) * scale
        close(found, z + shift, np.abs(z) + np.abs(shift) + np.abs(scale) * 1e-6, "y")

    arguments = {
        "x": x, "running_mean": running[0], "running_var": running[1], "weight": weight,
        "bias": bias, "training": training, "axis": axis, "out": out,
    }  # fmt: skip
    case = Case(bn.batch_norm, arguments, check, ("out", "running_mean", "running_var"))
    return spoiled(
        draw, case, x=BAD_X, axis=BAD_AXES, running_mean=BAD_VECTOR, running_var=BAD_VECTOR,
        weight=BAD_OPTIONAL, bias=BAD_OPTIONAL, out=BAD_EPILOGUE["out"], eps=BAD_EPS,
        momentum=[*BAD_NUMBERS, None], training=BAD_FLAG,
    )  # fmt: skip


@fuzzed("onnx.BatchNormalization")
def onnx_batch_normalization(draw):
    x = draw.array(draw.shape(low=1, sizes=[1, 2, 3, 5, 7]), draw.pick(FLOATS), FINITE)
    channels = 1 if x.ndim == 1 else x.shape[1]
    names = ("scale", "B", "input_mean", "input_var")
    vectors = {name: draw.vector(channels, positive=True) for name in names}
    vectors["B"] = vectors["B"].astype(vectors["scale"].dtype)
    vectors["input_var"] = vectors["input_var"].astype(vectors["input_mean"].dtype)

    def check(found):
        scale, shift, mean, var = (v.reshape(-1, *[1] * (x.ndim - 2)) for v in vectors.values())
        scale = wide(scale) * reference.rstd(wide(var), 1e-5)
        z = (wide(x) - wide(mean)) * scale
        size = np.abs(z) + np.abs(wide(shift)) + np.abs(wide(mean)) * np.abs(scale) * 1e-6
        close(found, z + wide(shift), size, "Y")

    case = Case(onnx.BatchNormalization, {"X": x, **vectors}, check)
    bad, bad_x = [*BAD_TENSOR, *BAD_SHAPE], BAD_X[:-1]  # (N,) is X of one channel
    case.said = tuple(vectors)  # a dtype is compared with that of the vector beside it
    return case.spoil(
        draw, X=bad_x, scale=bad, input_mean=bad, epsilon=BAD_EPS, momentum=[*BAD_NUMBERS, None],
        training_mode=[2, "1", None, 0.5, np.ones(2)], opset=[6, 16, 15.0, None, 10**30],
        spatial=[0, 2, None],
    )  # fmt: skip


# ---- backward ----


def gradient_sizes(dy, x, mean, scale, r, axis):
    """Return the size of the terms of dx, and those of the two sums."""
    g, xm = reference.columns(dy, axis), reference.columns(x, axis) - mean
    xm_size = np.abs(xm) + lost(mean, x.dtype)
    sum_g, sum_g_xm = np.abs(g).sum(0), (np.abs(g) * xm_size).sum(0)
    count = max(len(g), 1)
    terms = np.abs(g) + sum_g / count + xm_size * r * r * sum_g_xm / count
    return reference.tensor(terms * np.abs(scale), x, axis), sum_g, sum_g_xm


def backward_arguments(draw, **options):
    x, axis = tensor(draw, sizes=[1, 1, 2, 3, 5, 7, 11, 13, 17], **options)
    dy = draw.like(x, KINDS)
    count, mean, m2 = moments(x, axis)
    return x, dy, axis, mean, m2 / count


@fuzzed("backward_reduce")
def backward_reduce(draw):
    x, dy, axis, mean, _ = backward_arguments(draw)

    def check(sums):
        _, sum_g, sum_g_xm = reference.backward_sums(wide(dy), wide(x), mean, axis)
        _, size_g, size_g_xm = gradient_sizes(wide(dy), x, mean, 1.0, 1.0, axis)
        factor = 1 if x.dtype == np.float64 else 1e5
        close(sums.dy, sum_g, size_g, "dy", factor)
        close(sums.dy_xmu, sum_g_xm, size_g_xm + x.size * 2.0**-140, "dy_xmu", factor)

    case = Case(bn.backward_reduce, {"dy": dy, "x": x, "mean": mean, "axis": axis}, check)
    return spoiled(draw, case, x=BAD_X, dy=BAD_LIKE, mean=BAD_VECTOR, axis=BAD_AXES)


def assert_dx(dx, dy, x, axis, mean, var, weight, eps):
    """Assert that dx is right, where the mean and the variance came from x."""
    r = reference.rstd(var, eps)
    scale = scale_of(var, weight, eps)
    sums = reference.backward_sums(wide(dy), wide(x), mean, axis)
    expected = reference.gradient(
        wide(dy), wide(x), mean, var, one_or(weight, 1.0), sums, eps, axis
    )
    size, _, _ = gradient_sizes(wide(dy), x, mean, scale, r, axis)
    close(dx, expected, size + along(np.abs(scale), x, axis) * 1e-37, "dx")


@fuzzed("backward_apply")
def backward_apply(draw):
    x, dy, axis, mean, var = backward_arguments(draw)
    weight, eps = draw.optional(draw.vector(x.shape[axis])), draw.pick([1e-5, 1e-3, 1])
    whole_sums = reference.backward_sums(wide(dy), wide(x), mean, axis)
    sums = draw.optional(
        bn.BackwardSums(np.full(x.shape[axis], float(whole_sums[0])), *whole_sums[1:])
    )
    old, old_x = np.array(dy), np.array(x)
    out = draw.pick([None, *writeable(dy, x, one_further(dy), one_further(x))])

    def check(dx):
        assert dx.dtype == x.dtype and (out is None or dx is out)
        if sums is None:
            scale = along(scale_of(var, weight, eps), x, axis)
            close(dx, wide(old) * scale, np.abs(wide(old) * scale) + np.abs(scale) * 1e-37, "dx")
        else:
            assert_dx(dx, old, old_x, axis, mean, var, weight, eps)

    arguments = {
        "dy": dy, "x": x, "mean": mean, "var": var, "weight": weight, "eps": eps, "sums": sums,
        "axis": axis, "out": out,
    }  # fmt: skip
    case = Case(bn.backward_apply, arguments, check, ("out",))
    return spoiled(
        draw, case, x=BAD_X, dy=BAD_LIKE, mean=BAD_VECTOR, var=BAD_VECTOR, weight=BAD_OPTIONAL,
        eps=BAD_EPS, axis=BAD_AXES, sums=[3, "a", np.ones(3), (1, 2, 3)], out=BAD_EPILOGUE["out"],
    )  # fmt: skip


@fuzzed("backward_batch")
def backward_batch(draw):
    x, dy, axis, mean, var = backward_arguments(draw)
    weight, eps = draw.optional(draw.vector(x.shape[axis])), draw.pick([1e-5, 1e-3, 1])
    count = np.full(x.shape[axis], float(x.size // x.shape[axis]))
    batch, old, old_x = bn.Stats(count, mean, var * count), np.array(dy), np.array(x)
    activation, y = draw.pick([None, "relu", "relu6"]), draw.array(x.shape, x.dtype, FINITE)
    outputs = [None, np.zeros(x.shape, x.dtype), *writeable(dy, x, one_further(dy))]
    out, dresidual = draw.pick(outputs), draw.pick(outputs)
    if out is not None and dresidual is not None and np.may_share_memory(out, dresidual):
        out = None
    passes = (wide(y) > 0) & (wide(y) < (6 if activation == "relu6" else np.inf))
    g = old if activation is None else np.where(passes, old, np.zeros((), x.dtype))

    def check(found):
        dx, sums = found
        assert out is None or dx is out
        _, size_g, _ = gradient_sizes(wide(g), old_x, mean, 1.0, 1.0, axis)
        close(sums.dy, reference.columns(g, axis).sum(0), size_g, "dy", 1e5)
        assert_dx(dx, g, old_x, axis, mean, var, weight, eps)
        if dresidual is not None:
            np.testing.assert_array_equal(wide(dresidual), wide(g))

    arguments = {
        "dy": dy, "x": x, "batch": batch, "weight": weight, "eps": eps, "axis": axis, "out": out,
        "y": y, "activation": activation, "dresidual": dresidual,
    }  # fmt: skip
    case = Case(bn.backward_batch, arguments, check, ("out", "dresidual"))
    return spoiled(
        draw, case, x=BAD_X, dy=BAD_LIKE, weight=BAD_OPTIONAL, bias=BAD_OPTIONAL, eps=BAD_EPS,
        axis=BAD_AXES, batch=[None, 3, (count, mean, var)], y=BAD_EPILOGUE["residual"],
        out=BAD_EPILOGUE["out"], dresidual=BAD_EPILOGUE["out"], activation=BAD_CHOICES,
        negative_slope=[*BAD_NUMBERS, None],
    )  # fmt: skip


@fuzzed("batch_norm_double_backward")
def double_backward(draw):
    """Compare with differences of the gradient, which is linear in dy and the weight."""
    x = draw.array(draw.shape(low=2, high=4, sizes=[2, 3, 5, 7]), np.float64, [FINITE[0]])
    axis = draw.pick(range(-x.ndim, x.ndim))
    dy, ddx = draw.like(x, [FINITE[0]]), draw.like(x, [FINITE[0]])
    count, mean, m2 = moments(x, axis)
    var, weight = m2 / count, draw.vector(x.shape[axis])

    def check(found):
        ddy, _, dweight = found
        gradient = reference.backward(wide(ddx), wide(x), wide(weight), 1e-3, axis)[0]
        close(
            ddy, gradient, np.abs(gradient).max() + 1e-3 + np.abs(wide(ddx)).max() * 40, "ddy", 10
        )
        dx = reference.backward(wide(dy), wide(x), np.ones(len(weight)), 1e-3, axis)[0]
        expected = reference.columns(wide(ddx) * dx, axis).sum(0)
        close(dweight, expected, np.abs(wide(ddx) * dx).sum() + 40 * x.size, "dweight", 10)

    arguments = {
        "ddx": ddx, "ddweight": None, "ddbias": None, "dy": dy, "x": x, "mean": mean, "var": var,
        "weight": weight, "eps": 1e-3, "axis": axis,
    }  # fmt: skip
    case = Case(bn.batch_norm_double_backward, arguments, check)
    return spoiled(
        draw, case, x=BAD_X, dy=BAD_LIKE, ddx=BAD_EPILOGUE["residual"], mean=BAD_VECTOR,
        var=BAD_VECTOR, weight=BAD_OPTIONAL, ddweight=BAD_OPTIONAL, ddbias=BAD_OPTIONAL,
        eps=BAD_EPS, axis=BAD_AXES, training=BAD_FLAG,
        order=[1, 3, None, "2", np.ones(2), 2.5],
    )  # fmt: skip


# ---- folding ----


@fuzzed("fold_arrays")
def fold_arrays(draw):
    weight = draw.array(draw.shape(sizes=[1, 2, 3, 5, 7]), draw.pick(WIDE), [FINITE[0]])
    axis = draw.pick(range(-weight.ndim, weight.ndim))
    channels = weight.shape[axis]
    names = ("bias", "running_mean", "running_var", "bn_weight", "bn_bias")
    vectors = {name: draw.vector(channels, positive=name == "running_var") for name in names}

    def check(found):
        bias, mean, var, scale, shift = (wide(v) for v in vectors.values())
        scale = scale * reference.rstd(var, 1e-5)
        expected = wide(weight) * along(scale, weight, axis)
        close(found[0], expected, np.abs(expected), "weight")
        size = (np.abs(bias) + np.abs(mean)) * np.abs(scale) + np.abs(shift)
        close(found[1], (bias - mean) * scale + shift, size, "bias")

    case = Case(bn.fold_arrays, {"weight": weight, **vectors, "axis": axis}, check)
    bad = {name: BAD_VECTOR if "running" in name else BAD_OPTIONAL for name in names}
    return case.spoil(
        draw,
        weight=[*BAD_X, lambda w: np.zeros(w.shape, np.float16)],
        axis=BAD_AXES,
        eps=BAD_EPS,
        **bad,
    )
