"""The fuzz's table of the layers and tools of `bn`, each with its answer in float64."""

import accuracy
import numpy as np
import reference
from fuzz_arrays import (
    BAD_CHOICES,
    BAD_DTYPE,
    BAD_EPS,
    BAD_LIKE,
    BAD_NUMBERS,
    BAD_TENSOR,
    BAD_X,
    FINITE,
    FLOATS,
    HUGE,
    denormal,
    normal,
)
from fuzz_functions import NO_EPILOGUE, assert_dx, assert_normalized, moments
from fuzz_law import Case, close, entries, wide

import bn

TABLE = {}
fuzzed = entries(TABLE)
SIZES = [1, 2, 3, 5, 7, 11, 17]
NORMAL = [normal]


def batch(draw, low=2, high=5, kinds=FINITE, dtypes=FLOATS):
    """Return x of at least two values in each channel, which are on axis 1."""
    shape = draw.shape(low, high, SIZES)
    return draw.array((shape[0] + 1, *shape[1:]), draw.pick(dtypes), kinds)


RANKS = {2: bn.BatchNorm1d, 3: bn.BatchNorm1d, 4: bn.BatchNorm2d, 5: bn.BatchNorm3d}


def layer_for(draw, x):
    """Return a layer that takes x, with a weight and a bias of its own."""
    make = draw.pick(
        [
            lambda: RANKS[x.ndim](x.shape[1]),
            lambda: bn.BatchNormalization(axis=1, epsilon=1e-5),
            lambda: bn.preset("torch", x.shape[1], axis=1),
            lambda: bn.BatchNorm(bn.RunningStats(momentum=0.1), x.shape[1], eps=1e-5, axis=1),
        ]
    )
    layer = make()
    layer.build(x.shape[1:])
    layer.weight.data[...] = draw.rng.standard_normal(x.shape[1])
    layer.bias.data[...] = draw.rng.standard_normal(x.shape[1])
    return layer


@fuzzed(
    "BatchNorm", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "BatchNormalization", "preset",
    "PresetBatchNorm", "RunningStats", "no_stat_update", "freeze", "unfreeze", "watching",
)  # fmt: skip
def batch_norm_layer(draw):
    x = batch(draw)
    layer, frozen = layer_for(draw, x), draw.pick([True, False])
    if frozen:
        bn.freeze(layer)
        if draw.pick([True, False]):
            frozen = False
            bn.unfreeze(layer)
    dy = draw.like(x, FINITE)
    before = [wide(layer.running_mean), wide(layer.running_var)]
    weight, bias = wide(layer.weight.data), wide(layer.bias.data)
    eps = float(layer.eps)

    def call(x, dy):
        with bn.watching(layer, lambda *seen: None), bn.no_stat_update():
            layer(x)
        y = layer(x)
        kept = np.array(y)
        return kept, layer.backward(dy)

    def check(found):
        y, dx = found
        if frozen:
            scale = (weight * reference.rstd(before[1], eps)).reshape(-1, *[1] * (x.ndim - 2))
            assert (wide(layer.running_mean) == before[0]).all()
            close(y, reference.forward(x, weight, bias, eps, 1, *before), abs(wide(x)) * 4 + 9, "y")
            close(dx, wide(dy) * scale, np.abs(wide(dy) * scale), "dx")
            return
        assert_normalized(y, x, 1, weight, bias, eps, None, NO_EPILOGUE)
        _, mean, m2 = moments(x, 1)
        assert_dx(dx, dy, x, 1, mean, m2 / (x.size // x.shape[1]), weight, eps)

    case = Case(call, {"x": x, "dy": dy}, check, said=("input",))
    return case.spoil(draw, x=BAD_X[:-2], dy=[*BAD_LIKE, *BAD_DTYPE])


BAD_MASK = [
    lambda m: m.astype(int), lambda m: m[..., None, None, None], lambda m: "ab", lambda m: 1.0,
    lambda m: np.ma.masked_array(m, np.ones(m.shape, bool)),
]  # fmt: skip


@fuzzed("layers with masks")
def masked_layer(draw):
    """A layer must leave out what a mask leaves out, forward and backward."""
    x = draw.array((5, draw.pick([1, 2, 7, 17]), draw.pick([2, 3, 33])), np.float64, NORMAL)
    layer = bn.BatchNorm1d(x.shape[1], eps=1e-3, affine=False, dtype=np.float64)
    mask = draw.rng.random((5, 1, x.shape[2])) < 0.7
    mask[0] = True
    dy = np.where(mask, draw.array(x.shape, np.float64, NORMAL), 0.0)

    def call(x, mask):
        y = layer(x, mask=mask)
        return np.array(y), layer.backward(dy)

    def check(found):
        y, dx = found
        _, mean, m2 = reference.weighted_moments(x, mask, 1)
        count = mask.sum()
        ones, zeros = np.ones(x.shape[1]), np.zeros(x.shape[1])
        expected = reference.forward(x, ones, zeros, 1e-3, 1, mean, m2 / count)
        close(y, expected, np.abs(expected) + 1, "y")
        right, _, _ = reference.weighted_backward(dy, x, ones, mask, 1e-3, 1)
        close(dx, right, 1e3 + 0 * right, "dx")

    return Case(call, {"x": x, "mask": mask}, check).spoil(draw, x=BAD_TENSOR, mask=BAD_MASK)


@fuzzed("GhostBatchNorm")
def ghost(draw):
    x = batch(draw, kinds=NORMAL)
    x = x if len(x) % 2 == 0 else x[1:] if len(x) > 3 else np.concatenate([x, x[:1]])
    size = len(x) // 2
    layer = bn.GhostBatchNorm(RANKS[x.ndim](x.shape[1], affine=False), size)

    def check(found):
        if x[:size].size == x.shape[1]:
            return
        for part in (slice(0, size), slice(size, None)):
            assert_normalized(found[part], x[part], 1, None, None, 1e-5, None, NO_EPILOGUE)

    if x[:size].size == x.shape[1]:  # one value in a channel of a ghost batch is too few
        layer.eval()
        return Case(layer, {"x": x}, lambda found: None)
    return Case(layer, {"x": x}, check, said=("input",)).spoil(draw, x=BAD_X[:-2])


@fuzzed("FeatureAxes")
def feature_axes(draw):
    x = draw.array((4, *draw.shape(1, 3, SIZES)), draw.pick(FLOATS), NORMAL)
    layer = bn.FeatureAxes(bn.BatchNormalization(epsilon=1e-3), tuple(range(1, x.ndim)))

    def check(found):
        columns = np.array(x).reshape(4, -1)
        flat = np.array(found).reshape(4, -1)
        assert_normalized(flat, columns, 1, None, None, 1e-3, None, NO_EPILOGUE)

    return Case(layer, {"x": x}, check, said=("axis",)).spoil(draw, x=BAD_TENSOR)


@fuzzed("accumulate", "Accumulation")
def accumulation(draw):
    x = batch(draw, kinds=[k for k in FINITE if k is not denormal])
    cut = draw.pick([0, 1, len(x)])
    chunks = [x[:cut], x[cut:]]

    def call(x):
        whole = bn.accumulate(RANKS[chunks[0].ndim](chunks[0].shape[1], affine=False))
        parts = [chunks[0], x] if x is not None else [chunks[0], None]
        for part in parts:
            whole.add(part)
        y = [whole.normalize(part) for part in parts]
        for part in parts:
            whole.reduce(part, part)
        return np.concatenate(y), np.concatenate([whole.apply(part, part) for part in parts])

    def check(found):
        assert_normalized(found[0], x, 1, None, None, 1e-5, None, NO_EPILOGUE)
        assert found[1].shape == x.shape

    return Case(call, {"x": chunks[1]}, check, said=("input",)).spoil(draw, x=BAD_X[:-2])


@fuzzed("recalibrate", "report", "Report", "LayerReport")
def recalibrated(draw):
    batches = [draw.array((n, 7), np.float32, NORMAL) for n in (2, 5)]
    model = bn.nn.Sequential(bn.BatchNorm1d(7))

    def call(batches):
        bn.recalibrate(model, batches)
        text = str(bn.report(model, batches[0]))
        assert "0" in text
        return model[0]

    def check(layer):
        count, mean, m2 = reference.moments(np.concatenate(batches), 1)
        accuracy.below(layer.running_mean - mean, 1e-6, "mean")
        accuracy.below(layer.running_var - m2 / (count - 1), 1e-5, "var")

    case = Case(call, {"batches": batches}, check, said=("x", "batch", "input"))
    bad = [[bad(batches[0])] for bad in (*BAD_TENSOR, lambda a: a[0])]
    return case.spoil(draw, batches=[None, 3, [], batches[0], *bad])


@fuzzed("adapt")
def adapted(draw):
    batches = [draw.array((n, 7), np.float32, NORMAL) for n in (2, 5)]
    options = {
        "prior": draw.pick([0.0, 3, np.float32(1e6)]), "lr": draw.pick([0, 1e-3, 1]),
        "method": draw.pick(["recalibrate", "tent"]),
    }  # fmt: skip
    model = bn.nn.Sequential(bn.BatchNorm1d(7))

    def call(batches, **options):
        return bn.adapt(model, batches, **options)[0]

    def check(layer):
        _, mean, _ = reference.moments(np.concatenate(batches), 1)
        share = 7 / (7 + float(options["prior"]))
        accuracy.below(layer.running_mean - share * mean, 1e-6, "mean")
        assert (layer.weight.data == 1).all() or options["method"] == "tent"

    case = Case(call, {"batches": batches, **options}, check, said=("x", "batch", "input"))
    bad = [[bad(batches[0])] for bad in (*BAD_TENSOR, lambda a: a[0])]
    return case.spoil(
        draw,
        batches=[None, 3, [], batches[0], *bad],
        prior=[*BAD_NUMBERS, -1, None], lr=[*BAD_NUMBERS, -1, None], method=[*BAD_CHOICES, None],
    )  # fmt: skip


# ---- options ----

BAD_COUNT = [0, -1, 1.5, "1", True, np.ones(3), 1j]
BAD_DTYPES = [np.int64, np.float16, complex, object, "M8[s]"]


@fuzzed("options of layers", "Convention", "Regularizer")
def options_of_layers(draw):
    make = draw.pick([bn.BatchNorm1d, bn.BatchNorm2d, bn.BatchNorm3d])
    options = {
        "num_features": draw.pick([1, 3, np.int64(7)]), "eps": draw.pick([0.0, 1e-5, 1]),
        "momentum": draw.pick([None, 0, 0.1, np.float32(1)]), "dtype": draw.pick(["f4", "f8"]),
    }  # fmt: skip
    case = Case(make, options, lambda layer: None)
    return case.spoil(
        draw, num_features=BAD_COUNT, eps=BAD_EPS, momentum=[*BAD_NUMBERS, -0.1, 1.5, HUGE],
        dtype=BAD_DTYPES,
    )  # fmt: skip


@fuzzed("options of Keras's layer")
def options_of_keras(draw):
    options = {"axis": draw.pick([-1, 1, 2]), "momentum": 0.9, "epsilon": 1e-3, "renorm": True}
    case = Case(bn.BatchNormalization, options, lambda layer: None, said=("rmin", "dmax"))
    return case.spoil(
        draw, axis=[1.5, None, "1", 1j, np.ones(2)], epsilon=BAD_EPS,
        momentum=[*BAD_NUMBERS, -0.1, 1.5], dtype=BAD_DTYPES,
        beta_initializer=["what", None, 3, np.ones(3)], gamma_regularizer=["what", 3, np.ones(3)],
        renorm_clipping=[{"a": 1.0}, {"rmax": -1.0}, {"rmax": HUGE}, 3, "a"],
    )  # fmt: skip


@fuzzed("threads", "set_num_threads", "get_num_threads", "show_config")
def threads(draw):
    n = draw.pick([1, 2, 3])

    def call(n):
        with bn.threads(n):
            return bn.get_num_threads(), bn.show_config()["threads"]

    def check(found):
        assert found in {(n, n), (1, 1)}  # without OpenMP there is one

    return Case(call, {"n": n}, check).spoil(draw, n=[*BAD_COUNT, None, 10**30])


@fuzzed("memory")
def memory(draw):
    def call(nbytes):
        bn.memory.set_limit(nbytes)
        bn.memory.trim()
        limit = bn.memory.info()["limit"]
        bn.memory.set_limit(None)
        return limit

    limit = draw.pick([0, 1, 2**20, np.int64(2**30)])

    def check(found):
        assert found == limit

    return Case(call, {"nbytes": limit}, check).spoil(draw, nbytes=[-1, 1.5, "1", HUGE, np.ones(2)])
