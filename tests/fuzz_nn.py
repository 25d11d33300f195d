"""The fuzz's table of `bn.nn`, each entry with its answer in float64."""

import copy
import math
import tempfile
from pathlib import Path

import ml_dtypes
import nn_reference
import numpy as np
from fuzz_arrays import (
    BAD_LIKE,
    BAD_NUMBERS,
    BAD_SHAPE,
    BAD_TENSOR,
    FINITE,
    HUGE,
    IN_PLACE,
    KINDS,
    WIDE,
    denormal,
    large,
    normal,
    read_only,
    special,
)
from fuzz_law import Case, close, entries, wide

import bn
from bn import nn

TABLE = {}
HALF = [lambda a: np.zeros(a.shape, np.float16), lambda a: np.zeros(a.shape, ml_dtypes.bfloat16)]
BAD_INPUT, BAD_DY = [*BAD_TENSOR, *HALF], [*BAD_LIKE, *HALF]
# The products of denormal numbers are lost, and how many of them a sum has is not asked here.
ROUND = [kind for kind in FINITE if kind is not denormal]
BAD_COUNT = [0, -1, 1.5, "1", True, np.nan, np.ones(3), 1j]


fuzzed = entries(TABLE)


def there_and_back(layer):
    def call(x, dy):
        y = layer(x)
        kept = np.array(y)
        return kept, layer.backward(dy)

    return call


def layer_case(draw, layer, x, check, bad_x=BAD_INPUT, kinds=ROUND):
    """Return a case of a forward pass and a backward pass."""
    dy = draw.array((len(x), *layer.output_shape(x.shape[1:])), x.dtype, kinds)
    case = Case(there_and_back(layer), {"x": x, "dy": dy}, lambda found: check(*found, dy))
    case.said = (type(layer).__name__,)  # Conv2d takes images of shape ...
    return case.spoil(draw, x=bad_x, dy=BAD_DY)


# ---- activations ----


def relu(x):
    return np.where(x <= 0, 0, x), np.where(x <= 0, 0, 1)


def relu6(x):
    y = np.where(x <= 0, 0, np.where(x > 6, 6, x))
    return y, np.where((x <= 0) | (x >= 6), 0, 1)


def leaky_relu(x):
    return np.where(x > 0, x, 0.01 * x), np.where(x > 0, 1, 0.01)


def sigmoid(x):
    y = 1 / (1 + np.exp(-x))
    return y, y * (1 - y)


def tanh(x):
    return np.tanh(x), 1 - np.tanh(x) ** 2


def identity(x):
    return x, np.ones(x.shape)


normal_cdf = np.vectorize(lambda v: math.erfc(-v / math.sqrt(2)) / 2, otypes=[float])


def gelu(x):
    x = np.clip(x, -100, None)
    cdf = normal_cdf(x)
    return x * cdf, cdf + np.where(abs(x) > 100, 0, x * np.exp(-x * x / 2) / math.sqrt(2 * np.pi))


def silu(x):
    p = 1 / (1 + np.exp(-x))
    near = np.clip(x, -700, 700)
    y = np.where(x < -700, 0, x * p)
    return y, np.where(x < -700, 0, p * (1 + near / (1 + np.exp(near))))


def elu(x):
    return np.where(x > 0, x, np.expm1(x)), np.where(x > 0, 1, np.exp(x))


def softplus(x):
    return np.where(x > 20, x, np.log1p(np.exp(x))), np.where(x > 20, 1, 1 / (1 + np.exp(-x)))


def hardswish(x):
    y = np.where(x >= 3, x, np.where(x <= -3, 0, x * (x + 3) / 6))
    return y, np.where(x >= 3, 1, np.where(x <= -3, 0, x / 3 + 0.5))


ELEMENTWISE = {
    "GELU": gelu, "SiLU": silu, "ELU": elu, "Softplus": softplus, "Hardswish": hardswish,
    "ReLU": relu, "ReLU6": relu6, "LeakyReLU": leaky_relu, "Sigmoid": sigmoid, "Tanh": tanh,
    "Identity": identity,
}  # fmt: skip


@fuzzed(*ELEMENTWISE)
def elementwise(draw):
    name = draw.pick(sorted(ELEMENTWISE))
    x = draw.array(draw.shape(low=1), draw.pick(WIDE), [*FINITE, special])

    def check(y, dx, dy):
        with np.errstate(all="ignore"):
            expected, slope = ELEMENTWISE[name](wide(x))
            right = wide(dy) * slope
        assert y.dtype == dx.dtype == x.dtype
        close(y, expected, np.abs(expected) + 1e-6 * np.isfinite(expected), "y")
        close(dx, right, np.abs(wide(dy)), "dx", 4)

    bad = BAD_INPUT if name != "Identity" else BAD_TENSOR[:0]
    layer = getattr(nn, name)()
    if bad:
        return layer_case(draw, layer, x, check)
    dy = draw.array(x.shape, x.dtype)
    case = Case(there_and_back(layer), {"x": x, "dy": dy}, lambda found: check(*found, dy))
    return case.spoil(draw, dy=BAD_DY)


@fuzzed("PReLU")
def prelu(draw):
    x = draw.array(draw.shape(low=2, sizes=[1, 2, 3, 5, 7]), draw.pick(WIDE), ROUND)
    axis = draw.pick(range(1, x.ndim))
    count = draw.pick([1, x.shape[axis]])
    layer = nn.PReLU(count, 0.3, dtype=draw.pick(WIDE), axis=axis)
    others = tuple(i for i in range(x.ndim) if i != axis or count == 1)

    def check(y, dx, dy):
        slope = wide(layer.weight.data)[0]
        close(y, np.where(x > 0, wide(x), slope * wide(x)), np.abs(wide(x)), "y")
        close(dx, np.where(x > 0, wide(dy), slope * wide(dy)), np.abs(wide(dy)), "dx")
        terms = wide(dy) * np.minimum(wide(x), 0)
        factor = 1e6 if x.dtype != np.float64 and layer.weight.dtype == np.float64 else 4
        size = np.abs(terms).sum(others).reshape(count)
        close(layer.weight.grad, terms.sum(others).reshape(count), size, "weight", factor)

    return layer_case(draw, layer, x, check)


@fuzzed("LogSoftmax")
def log_softmax(draw):
    x = draw.array(draw.shape(low=1, sizes=[1, 2, 3, 5, 7, 11]), draw.pick(WIDE), FINITE)
    axis = draw.pick(range(-x.ndim, x.ndim))

    def check(y, dx, dy):
        shifted = wide(x) - wide(x).max(axis, keepdims=True)
        expected = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
        close(y, expected, np.abs(expected) + 4, "y", 4)
        total = wide(dy).sum(axis, keepdims=True)
        size = np.abs(wide(dy)).max(axis, keepdims=True) * x.shape[axis]
        close(dx, wide(dy) - np.exp(expected) * total, size * (1 + np.abs(expected)), "dx", 4)

    return layer_case(draw, nn.LogSoftmax(axis), x, check)


@fuzzed("Softmax")
def softmax(draw):
    x = draw.array(draw.shape(low=1, sizes=[1, 2, 3, 5, 7, 11]), draw.pick(WIDE), FINITE)
    axis = draw.pick(range(-x.ndim, x.ndim))

    def check(y, dx, dy):
        e = np.exp(wide(x) - wide(x).max(axis, keepdims=True))
        p = e / e.sum(axis, keepdims=True)
        close(y, p, np.ones(p.shape), "y", 4)
        weighted = (wide(dy) * p).sum(axis, keepdims=True)
        size = np.abs(wide(dy)).max(axis, keepdims=True) * x.shape[axis]
        close(dx, p * (wide(dy) - weighted), size, "dx", 4)

    return layer_case(draw, nn.Softmax(axis), x, check)


@fuzzed("Dropout")
def dropout(draw):
    x, p = draw.array(draw.shape(low=1), draw.pick(WIDE), FINITE), draw.pick([0, 0.3, 1.0])

    def check(y, dx, dy):
        scale = 1 / (1 - p) if p < 1 else 1
        dropped = wide(y) == 0
        close(y, np.where(dropped, 0, wide(x) * scale), np.abs(wide(x)) * scale, "y")
        if (wide(x) != 0).all():
            expected = np.where(dropped, 0, wide(dy) * scale)
            close(dx, expected, np.abs(expected), "dx")

    return layer_case(draw, nn.Dropout(p, rng=0), x, check)


@fuzzed("Flatten")
def flatten(draw):
    x = draw.array(draw.shape(low=2, sizes=[1, 2, 3, 5]), draw.pick(WIDE))

    def check(y, dx, dy):
        np.testing.assert_array_equal(y, wide(x).reshape(len(x), -1))
        np.testing.assert_array_equal(dx, wide(dy).reshape(x.shape))

    return layer_case(draw, nn.Flatten(), x, check, BAD_TENSOR[:5])


# ---- images ----


def images(draw, channels, smallest=1, kinds=ROUND):
    n = draw.pick([1, 1, 2, 3])
    size = [smallest + draw.pick([0, 1, 2, 5, 8]) for _ in range(2)]
    return draw.array((n, channels, *size), draw.pick(WIDE), kinds)


BAD_IMAGES = [*BAD_INPUT, *BAD_SHAPE, lambda x: x[0], lambda x: x[..., 0]]


@fuzzed("Conv2d", "winograd")
def conv2d(draw):
    groups = draw.pick([1, 1, 1, 2, 5])
    before = groups * draw.pick([1, 2, 3, 7, 16, 17])
    after = groups * draw.pick([1, 2, 3, 16, 24])
    kernel, stride = (draw.pick([1, 2, 3]), draw.pick([1, 3])), draw.pick([1, 1, 2])
    padding, dilation = draw.pick([0, 1, 2]), draw.pick([1, 1, 2])
    if draw.pick([True, False]):
        kernel, stride, dilation = (3, 3), 1, 1
    x = images(draw, before, 5)
    layer = nn.Conv2d(
        before, after, kernel, stride, padding, dilation, groups, rng=0, dtype=draw.pick(WIDE)
    )
    window, mode = layer.window, draw.pick([True, False])
    w, b = wide(layer.weight.data), wide(layer.bias.data)
    how = (window.stride, window.before, window.after, window.dilation, groups)
    terms, outputs = before // groups * kernel[0] * kernel[1], after // groups

    def check(y, dx, dy):
        largest, rounded = np.abs(x).max(initial=0), x.dtype != np.float64
        close(y, nn_reference.conv2d(x, w, b, *how), largest * terms * np.abs(w).max() + 1, "y", 4)
        right = nn_reference.conv2d_gradients(x, w, dy, *how)
        g = np.abs(wide(dy)).max(initial=0)
        places = dy[:, 0].size
        close(dx, right[0], outputs * terms * np.abs(w).max() * g, "dx", 4)
        factor = 1e6 if rounded and layer.weight.dtype == np.float64 else 10
        close(layer.weight.grad, right[1], places * g * largest, "gradient of weight", factor)
        close(layer.bias.grad, right[2], places * g, "gradient of bias", factor)

    def call(x, dy):
        with nn.winograd(mode):
            return there_and_back(layer)(x, dy)

    case = layer_case(draw, layer, x, check, BAD_IMAGES)
    case.call = call
    return case


@fuzzed("MaxPool2d", "AvgPool2d")
def pool2d(draw):
    kernel = (draw.pick([1, 2, 3]), draw.pick([1, 2, 3, 5]))
    stride, padding = draw.pick([None, 1, 2, (3, 1)]), draw.pick([0, 0, min(kernel) // 2])
    x = images(draw, draw.pick([1, 2, 3, 7, 17, 33]), 5)
    kind = draw.pick([nn.MaxPool2d, nn.AvgPool2d])
    layer = kind(kernel, stride, padding)
    steps = kernel if stride is None else (stride, stride) if isinstance(stride, int) else stride
    reduce, value = (np.max, -np.inf) if kind is nn.MaxPool2d else (np.mean, 0.0)
    sides = (padding, padding)

    def check(y, dx, dy):
        expected = nn_reference.pool2d(wide(x), kernel, steps, sides, reduce, value)
        close(y, expected, np.abs(wide(x)).max(), "y")
        assert dx.shape == x.shape
        if kind is nn.MaxPool2d:
            size = np.abs(wide(dy)).sum()
            close(np.asarray(wide(dx).sum(), x.dtype), wide(dy).sum(), size, "sum of dx", 4)
            return
        probe = draw.rng.standard_normal(x.shape)  # the pooling is linear, and dx its transpose
        moved = nn_reference.pool2d(probe, kernel, steps, sides, reduce, value)
        size = np.abs(wide(dy)).sum() * 10
        close(
            np.asarray((wide(dx) * probe).sum(), x.dtype), (wide(dy) * moved).sum(), size, "dx", 4
        )

    return layer_case(draw, layer, x, check, BAD_IMAGES[:-3])


@fuzzed("channels_last")
def channels_last(draw):
    x = images(draw, draw.pick([1, 2, 3, 17]), kinds=KINDS)

    def check(y):
        np.testing.assert_array_equal(y, np.asarray(x))
        assert y.transpose(0, 2, 3, 1).flags.c_contiguous

    return Case(nn.channels_last, {"x": x}, check, said=("channels_last",)).spoil(
        draw, x=BAD_IMAGES
    )


# ---- linear, losses ----


@fuzzed("Linear")
def linear(draw):
    features, outputs = draw.pick([1, 2, 7, 17, 70]), draw.pick([1, 2, 17, 65])
    shape = (*draw.shape(low=1, high=3, sizes=[0, 1, 2, 3, 5]), features)
    x = draw.array(shape, draw.pick(WIDE), ROUND)
    layer = nn.Linear(features, outputs, rng=0, dtype=draw.pick(WIDE))
    w, b = wide(layer.weight.data), wide(layer.bias.data)

    def check(y, dx, dy):
        largest, g = (np.abs(a).max(initial=0) for a in (x, dy))
        close(y, wide(x) @ w.T + b, largest * features + 1, "y", 4)
        close(dx, wide(dy) @ w, g * outputs, "dx", 4)
        rows, dys = wide(x).reshape(-1, features), wide(dy).reshape(-1, outputs)
        factor = 1e6 if x.dtype != np.float64 and layer.weight.dtype == np.float64 else 4
        size = largest * g * len(rows)
        close(layer.weight.grad, dys.T @ rows, size, "weight", factor)
        close(layer.bias.grad, dys.sum(0), g * len(rows), "bias", 10 * factor)

    bad = [*BAD_INPUT, lambda x: np.zeros((*x.shape[:-1], features + 1), x.dtype)]
    return layer_case(draw, layer, x, check, bad)


def sigmoid_of(a):
    return 1 / (1 + np.exp(-a))


def rnn_step(a, u, h, c):
    return np.tanh(a + u), c


def lstm_step(a, u, h, c):
    i, f, g, o = np.split(a + u, 4, axis=1)
    c = sigmoid_of(f) * c + sigmoid_of(i) * np.tanh(g)
    return sigmoid_of(o) * np.tanh(c), c


def gru_step(a, u, h, c):
    (r, z, n), (r_u, z_u, n_u) = np.split(a, 3, axis=1), np.split(u, 3, axis=1)
    r, z = sigmoid_of(r + r_u), sigmoid_of(z + z_u)
    return (1 - z) * np.tanh(n + r * n_u) + z * h, c


STEPS = {"RNN": rnn_step, "LSTM": lstm_step, "GRU": gru_step}


def recurrent_outputs(kind, weights, x, lengths):
    """Return the outputs of all steps of x, (T, N, C), in float64."""
    w, u, b, b_u = weights
    h = c = np.zeros((x.shape[1], u.shape[1]))
    y = np.zeros((*x.shape[:2], u.shape[1]))
    for t, step in enumerate(x):
        new_h, new_c = STEPS[kind](step @ w.T + b, h @ u.T + b_u, h, c)
        there = (t < lengths)[:, None]
        h, c = np.where(there, new_h, h), np.where(there, new_c, c)
        y[t] = np.where(there, h, 0)
    return y


@fuzzed(*STEPS)
def recurrent(draw):
    kind, batch_first = draw.pick(sorted(STEPS)), draw.pick([True, False])
    features, hidden = draw.pick([1, 2, 7, 17]), draw.pick([1, 3, 8, 33])
    steps, batch = draw.pick([0, 1, 2, 5]), draw.pick([0, 1, 2, 3, 9])
    layer = getattr(nn, kind)(
        features, hidden, batch_first=batch_first, return_state=False, rng=0, dtype=draw.pick(WIDE)
    )
    shape = (batch, steps, features) if batch_first else (steps, batch, features)
    x = draw.array(shape, draw.pick(WIDE), [normal])
    dy = draw.array((*shape[:2], hidden), x.dtype, [normal])
    lengths = draw.rng.integers(0, steps + 1, batch)
    weights = [wide(p.data) for p in layer.parameters()]

    def outputs(x):
        turned = wide(x).transpose(1, 0, 2) if batch_first else wide(x)
        y = recurrent_outputs(kind, weights, turned, lengths)
        return y.transpose(1, 0, 2) if batch_first else y

    def call(x, dy, lengths):
        y = layer(x, lengths=lengths)
        return np.array(y), layer.backward(dy)

    def check(found):
        y, dx = found
        largest = np.abs(wide(x)).max(initial=1) * (features + hidden)
        close(y, outputs(x), largest, "y", 4)
        assert dx.shape == x.shape and dx.dtype == x.dtype
        probe, step = draw.rng.standard_normal(x.shape), 1e-5
        moved = (outputs(wide(x) + step * probe) - outputs(wide(x) - step * probe)) / (2 * step)
        size = np.abs(wide(dy)).sum() * largest + 1
        found_slope = np.asarray((wide(dx) * probe).sum(), np.float32)
        close(found_slope, (wide(dy) * moved).sum(), size, "dx", 4)

    case = Case(call, {"x": x, "dy": dy, "lengths": lengths}, check)
    case.said = (kind,)
    bad_x = [*BAD_INPUT, *BAD_SHAPE, lambda a: a[0] if len(a) else a[..., 0]]
    bad_lengths = [lengths + steps + 1, lengths - steps - 1, lengths.astype(float), "1", 3]
    return case.spoil(draw, x=bad_x, dy=BAD_DY, lengths=bad_lengths if batch else ["1", 3])


@fuzzed("Embedding")
def embedding(draw):
    rows, features = draw.pick([1, 2, 7, 100]), draw.pick([1, 2, 7, 33])
    padding = draw.pick([None, 0, -1])
    layer = nn.Embedding(rows, features, padding, rng=0, dtype=draw.pick(WIDE))
    integers = draw.pick([np.uint8, np.int16, np.int64, np.uint64])
    x = draw.rng.integers(0, rows, draw.shape(low=0, high=4)).astype(integers)
    dy = draw.array((*x.shape, features), layer.weight.dtype, ROUND)
    table = wide(layer.weight.data)

    def check(found):
        y, dx = found
        np.testing.assert_array_equal(y, table[x.astype(int)])
        assert dx is None and y.dtype == layer.weight.dtype
        expected, size = np.zeros(table.shape), np.zeros(table.shape)
        np.add.at(expected, x.astype(int), wide(dy))
        np.add.at(size, x.astype(int), np.abs(wide(dy)))
        if padding is not None:
            expected[padding] = 0
        close(layer.weight.grad, expected, size * 4 + 1e-300, "gradient of weight", 4)

    bad_x = [
        lambda a: a.astype(float), lambda a: a.astype(bool), lambda a: a.astype(object),
        lambda a: a.tolist(), lambda a: None, lambda a: "text", lambda a: 1j,
        lambda a: np.full((2, 2), rows), lambda a: np.full(3, -1),
        lambda a: np.ma.masked_array(np.zeros(2, int), True),
    ]  # fmt: skip
    case = Case(there_and_back(layer), {"x": x, "dy": dy}, check, said=("Embedding",))
    return case.spoil(draw, x=bad_x, dy=BAD_DY if x.ndim else BAD_TENSOR)


def loss_case(draw, criterion, arguments, check, **bad):
    def call(**given):
        more = {n: given.pop(n) for n in ["sample_weight"] if n in given}
        return criterion(*given.values(), **more), criterion.backward()

    return Case(call, arguments, lambda found: check(*found)).spoil(draw, **bad)


@fuzzed("CrossEntropyLoss")
def cross_entropy(draw):
    shape = draw.shape(low=2, high=4, sizes=[1, 2, 3, 5, 17])
    logits, smoothing = draw.array(shape, draw.pick(WIDE), [normal]), draw.pick([0, 0.1])
    classes = shape[1]
    target = draw.rng.integers(0, classes, (shape[0], *shape[2:]))
    labels = np.moveaxis(np.eye(classes)[target], -1, 1)
    given = draw.pick([target, target.astype(np.int8), target.tolist(), labels, target[:, None]])
    weight = draw.pick([None, draw.rng.random(shape[0]) + 0.5])

    def check(loss, dlogits):
        t = labels * (1 - smoothing) + smoothing / classes
        z = wide(logits)
        log_p = z - z.max(1, keepdims=True)
        log_p = log_p - np.log(np.exp(log_p).sum(1, keepdims=True))
        w = np.ones(shape[0]) if weight is None else weight
        count = w.sum() * logits.size / classes / shape[0]
        w = w.reshape(-1, *[1] * (len(shape) - 1)) / count
        close(np.asarray(loss, logits.dtype), -(w * t * log_p).sum(), 20.0 * classes, "loss")
        close(dlogits, w * (np.exp(log_p) - t), w * np.ones(shape), "gradient", 4)

    bad_target = [
        target + classes, target - classes, target.astype(complex), labels * np.nan, -labels,
        "text", None, 3.5, np.ma.masked_array(target, True), np.ma.masked_array(labels, True),
        np.full(target.shape, 2**63, np.uint64), np.full(target.shape, HUGE), labels.astype(str),
        target[:0], target.astype(object), labels.astype(complex), np.full(shape, np.inf),
    ]  # fmt: skip
    bad_weight = [-1, np.nan, "text", np.ones(99), [1j], np.ma.masked_array(1.0, True)]
    case = loss_case(
        draw, nn.CrossEntropyLoss(label_smoothing=smoothing),
        {"logits": logits, "target": given, "sample_weight": weight}, check,
        logits=[*BAD_INPUT, lambda a: a[:0], lambda a: a.reshape(-1)],
        target=bad_target, sample_weight=bad_weight,
    )  # fmt: skip
    case.said = ("class indices",)
    return case


BAD_TARGET = [
    *BAD_SHAPE, lambda t: t * np.nan, lambda t: t.astype(complex), lambda t: t.astype(object),
    lambda t: t.astype(str), lambda t: np.ma.masked_array(t, np.ones(t.shape, bool)),
    lambda t: None, lambda t: "text", lambda t: t[..., None],
]  # fmt: skip


def squares(y, t):
    d = y - t
    return d * d, 2 * d, y * y + t * t


def absolutes(y, t):
    return np.abs(y - t), np.sign(y - t), np.abs(y) + np.abs(t)


def smooth(y, t):
    d = y - t
    inner = np.abs(d) < 1
    return np.where(inner, d * d / 2, np.abs(d) - 0.5), np.clip(d, -1, 1), np.abs(y) + np.abs(t)


VALUES = {"MSELoss": squares, "L1Loss": absolutes, "SmoothL1Loss": smooth}


@fuzzed(*VALUES)
def losses_of_values(draw):
    name, reduction = draw.pick(sorted(VALUES)), draw.pick(["mean", "sum"])
    y = draw.array(draw.shape(low=1, sizes=[1, 2, 3, 5, 17]), draw.pick(WIDE), FINITE)
    target = draw.array(y.shape, draw.pick([*WIDE, np.float16]), FINITE)

    def check(loss, dy):
        count = y.size if reduction == "mean" else 1
        with np.errstate(over="ignore"):
            losses, slopes, sizes = VALUES[name](wide(y), wide(target.astype(y.dtype)))
            close(np.asarray(loss, y.dtype), losses.sum() / count, sizes.sum() / count, "loss", 4)
        # A difference of nearly equal numbers may round to 0, whose sign is 0.
        sizes = 2 * (np.abs(wide(y)) + np.abs(wide(target))) + 1
        close(dy, slopes / count, sizes / count, "dy", 4)

    criterion = getattr(nn, name)(reduction=reduction)
    return loss_case(
        draw, criterion, {"y": y, "target": target}, check,
        y=[*BAD_INPUT, lambda a: a[:0]], target=BAD_TARGET,
    )  # fmt: skip


@fuzzed("BCEWithLogitsLoss")
def logistic(draw):
    x = draw.array(draw.shape(low=1, sizes=[1, 2, 3, 5, 17]), draw.pick(WIDE), [*FINITE, large])
    target = draw.rng.random(x.shape).astype(draw.pick([*WIDE, np.float16]))
    weight, positive = draw.rng.random(x.shape[-1:]) + 0.5, draw.pick([1, 3])

    def check(loss, dx):
        t, z = wide(target.astype(x.dtype)), wide(x)
        each = (1 - t) * np.logaddexp(0, z) + positive * t * np.logaddexp(0, -z)
        close(
            np.asarray(loss, x.dtype), (weight * each).mean(), 4 * np.abs(z).mean() + 4, "loss", 4
        )
        slope = (1 - t) / (1 + np.exp(-z)) - positive * t / (1 + np.exp(z))
        close(dx, weight * slope / x.size, 8 * np.ones(x.shape) / x.size, "gradient", 4)

    criterion = nn.BCEWithLogitsLoss(weight, pos_weight=positive)
    return loss_case(
        draw, criterion, {"logits": x, "target": target}, check,
        logits=[*BAD_INPUT, lambda a: a[:0]],
        target=[*BAD_TARGET, lambda t: t + 2, lambda t: t - 2],
    )  # fmt: skip


# ---- optimizers ----


def sgd_steps(p, g):
    buffer = np.zeros(p.shape)
    for _ in range(2):
        step = g + 0.01 * p
        buffer = 0.9 * buffer + step
        p = p - 0.1 * (step + 0.9 * buffer)
    return p


def adam_steps(p, g, decay=0.01, shrink=1.0):
    m = v = 0.0
    for t in (1, 2):
        step = g + decay * p
        m, v = 0.9 * m + 0.1 * step, 0.999 * v + 0.001 * step * step
        move = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        p = shrink * p - 0.1 * move
    return p


def rmsprop_steps(p, g):
    v = m = b = 0.0
    for _ in (1, 2):
        step = g + 0.01 * p
        v, m = 0.99 * v + 0.01 * step * step, 0.99 * m + 0.01 * step
        b = 0.5 * b + step / (np.sqrt(np.maximum(v - m * m, 0)) + 1e-8)
        p = p - 0.1 * b
    return p


OPTIMIZERS = {
    "RMSprop": ({"centered": True, "momentum": 0.5}, rmsprop_steps),
    "SGD": ({"momentum": 0.9, "nesterov": True}, sgd_steps),
    "Adam": ({}, adam_steps),
    "AdamW": ({}, lambda p, g: adam_steps(p, g, 0.0, 1 - 0.1 * 0.01)),
}


@fuzzed(*OPTIMIZERS, "Optimizer", "Parameter")
def optimizer(draw):
    name = draw.pick(sorted(OPTIMIZERS))
    options, formula = OPTIMIZERS[name]
    dtype = draw.pick(WIDE)
    data = draw.array(draw.shape(low=1, high=4), dtype, [normal], IN_PLACE)
    grad = draw.like(data, [normal])
    old, step = wide(data), wide(grad)
    alias = np.may_share_memory(data, grad)

    def call(data, grad):
        p = nn.Parameter(data)
        p.grad = grad
        optimizer = getattr(nn, name)([p], lr=0.1, weight_decay=0.01, **options)
        optimizer.step()
        if not alias:
            optimizer.step()
        return p.data

    def check(found):
        if alias:
            return  # the second gradient is another one; the first step is right in other cases
        expected = formula(old, step)
        # They divide by the step, which has few digits where the decay takes most of it away
        lost = (name in ("Adam", "RMSprop")) & (np.abs(step + 0.01 * old) < 0.01 * np.abs(step))
        close(found, expected, np.where(lost, np.inf, np.abs(old) + np.abs(step) + 1), name, 4)

    case = Case(
        call, {"data": data, "grad": grad}, check, ("data",), said=("gradient", "parameter")
    )
    bad_grad = [*BAD_LIKE[1:], *HALF]
    bad_data = [BAD_TENSOR[4], *BAD_TENSOR[6:], *HALF]  # a matrix becomes a plain array
    return case.spoil(draw, grad=bad_grad, data=bad_data)


@fuzzed("clip_grad_norm")
def clipping(draw):
    dtype, power = draw.pick(WIDE), draw.pick([1, 2, 3.5, np.inf])
    grad = draw.array(draw.shape(low=1, high=4), dtype, [normal, large], IN_PLACE)
    before = wide(grad)
    largest = max(np.abs(before).max(initial=0), 1e-300)
    norm = largest * np.linalg.norm((before / largest).ravel(), power) if grad.size else 0.0

    def call(grad, max_norm, norm_type):
        p = nn.Parameter(np.zeros(grad.shape, dtype))
        p.grad = grad
        return nn.clip_grad_norm([p], max_norm, norm_type), grad

    def check(found):
        assert abs(found[0] - norm) <= 1e-12 * norm
        close(found[1], before * min(1, 1.5 / (norm + 1e-6)), np.abs(before), "gradient")

    arguments = {"grad": grad, "max_norm": 1.5, "norm_type": power}
    case = Case(call, arguments, check, ("grad",), said=("gradient",))
    bad_power = [0, -1, np.nan, "2", None, True, HUGE]
    return case.spoil(
        draw, grad=[np.ma.masked_array(np.ones(2)), read_only],
        max_norm=[np.nan, "1", 1j, HUGE, None, -1], norm_type=bad_power,
    )  # fmt: skip


@fuzzed("no_decay")
def groups(draw):
    dtype, decay = draw.pick(WIDE), draw.pick([0.0, 0.5])
    layers = [nn.Linear(3, 4, rng=1, dtype=dtype), bn.BatchNorm1d(4), nn.ReLU(), nn.Tanh()]
    model = nn.Sequential(*(draw.pick(layers) for _ in range(3)), nn.Linear(4, 2, dtype=dtype))

    def call(model, weight_decay):
        optimizer = nn.SGD(nn.no_decay(model, weight_decay), lr=1.0)
        for p in model.parameters():
            p.grad = np.zeros_like(p.data)
        before = [wide(p.data) for p in model.parameters()]
        optimizer.step()
        return before, [p.data for p in model.parameters()]

    def check(found):
        for old, new in zip(*found, strict=True):
            close(new, old * (1 - decay if old.ndim == 2 else 1), np.abs(old), "parameter")

    case = Case(call, {"model": model, "weight_decay": decay}, check)
    return case.spoil(draw, model=[None, 3, [model]], weight_decay=[*BAD_NUMBERS, -1])


@fuzzed("StepLR", "CosineAnnealingLR")
def schedule(draw):
    optimizer = nn.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    n = draw.pick([1, 2, 5])

    def step_lr(step_size, gamma):
        schedule = nn.StepLR(optimizer, step_size, gamma)
        for _ in range(7):
            schedule.step()
        return optimizer.lr

    case = Case(step_lr, {"step_size": n, "gamma": 0.5}, lambda lr: close(lr, 0.5 ** (7 // n), 1.0))
    return case.spoil(draw, step_size=BAD_COUNT, gamma=[*BAD_NUMBERS, None, -1])


@fuzzed("LinearLR", "OneCycleLR", "SequentialLR", "ReduceLROnPlateau")
def combined_schedules(draw):
    """A warm-up, then one cycle, then a rate that falls because nothing improves."""
    optimizer = nn.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    n = draw.pick([1, 2, 5])

    def call(total_iters, total_steps, milestones, patience):
        parts = [
            nn.LinearLR(optimizer, 0.5, 1.0, total_iters),
            nn.OneCycleLR(optimizer, 2.0, total_steps, anneal_strategy="linear"),
        ]
        schedule = nn.SequentialLR(optimizer, parts, milestones)
        rates = []
        for _ in range(n + 3):
            rates.append(optimizer.lr)
            schedule.step()
        plateau, before = nn.ReduceLROnPlateau(optimizer, patience=patience), optimizer.lr
        for _ in range(patience + 2):
            plateau.step(1.0)
        return rates, optimizer.lr / before

    def check(found):
        rates, factor = found
        rising = [2.0 / 25 + (2.0 - 2.0 / 25) * step / 2 for step in range(3)]
        warm = [0.5 + 0.5 * step / n for step in range(n)]
        close(rates, [*warm, *rising], np.ones(n + 3), "rates")
        close(factor, 0.1, 1.0)

    arguments = {"total_iters": n, "total_steps": 10, "milestones": [n], "patience": n - 1}
    return Case(call, arguments, check).spoil(
        draw, total_iters=BAD_COUNT, total_steps=BAD_COUNT,
        milestones=[None, 3, [], [0], [1.5], [1, 2], ["a"]], patience=[-1, 1.5, "1", None, True],
    )  # fmt: skip


# ---- models ----


def network(draw):
    channels, dtype = draw.pick([1, 3, 16, 17, 24]), draw.pick(WIDE)
    conv = nn.Conv2d(2, channels, 3, padding=1, rng=1, dtype=dtype)
    body = [
        nn.Conv2d(channels, channels, 3, padding=1, rng=2, dtype=dtype),
        bn.BatchNorm2d(channels),
    ]
    block = draw.pick([body, [nn.Residual(nn.Sequential(*body))]])
    after = draw.pick([[nn.ReLU()], [nn.ReLU6()], [nn.LeakyReLU()], [nn.Tanh()], []])
    pool = draw.pick([nn.MaxPool2d(2), nn.AvgPool2d(2), nn.MaxPool2d(3, 2, 1)])
    head = [nn.AdaptiveAvgPool2d(), nn.Flatten(), nn.Linear(channels, 3, rng=3, dtype=dtype)]
    return nn.Sequential(conv, bn.BatchNorm2d(channels), nn.ReLU(), *block, *after, pool, *head)


def in_float64(model):
    """Return a copy whose parameters are float64."""
    model = copy.deepcopy(model)
    for p in model.parameters():
        p.data = p.data.astype(np.float64)
    return model


@fuzzed(
    "Sequential", "Residual", "fused", "no_grad", "compile", "Compiled", "fold", "Folded",
    "Module", "models",
)  # fmt: skip
def model(draw):
    """Compare with the same layers in float64, each computed by itself."""
    model, x = network(draw), images(draw, 2, 5, [normal])
    training = draw.pick([True, False])
    model.train(training)
    fused = draw.pick([True, False])
    with nn.fused(False), nn.winograd(False):
        plain = in_float64(model)
        expected = plain(wide(x))
        dy = np.cos(np.arange(expected.size)).reshape(expected.shape).astype(x.dtype)
        expected_dx = plain.backward(wide(dy))
    compiled, shape = not training and draw.pick([True, False]), x.shape[1:]
    rounded = model[0].weight.dtype != np.float64 and compiled  # folding rounds the weights

    def call(x):
        if compiled:
            return bn.compile(model, shape)(x), None
        with nn.fused(fused):
            return there_and_back(model)(x, dy)

    def check(found):
        y, dx = found
        close(y, expected, np.ones(y.shape), "y", 1e7 if rounded and x.dtype == np.float64 else 100)
        # a ReLU or a maximum may turn over where it is near to do so
        if dx is not None and x.dtype == np.float64:
            close(dx, expected_dx, np.ones(dx.shape), "dx", 1e4)

    return Case(call, {"x": x}, check, said=("Conv2d",)).spoil(draw, x=BAD_INPUT)


class Joined(nn.Module):
    def __init__(self, axis):
        self.first, self.second, self.axis = nn.Tanh(), nn.ReLU(), axis

    def forward(self, x):
        return nn.concatenate([self.first(x), self.second(x)], axis=self.axis)


@fuzzed("capture", "Captured")
def capture(draw):
    x = draw.array((3, 4), draw.pick(WIDE), [normal])
    model = nn.Sequential(nn.Tanh(), nn.Sequential(nn.ReLU(), nn.Tanh()))
    names = draw.pick(["0", "1", "1.0"])

    def check(found):
        captured = found[names]
        before, y = (np.tanh(wide(x)), np.maximum(np.tanh(wide(x)), 0))
        expected = {"0": (wide(x), before), "1": (before, np.tanh(y)), "1.0": (before, y)}[names]
        close(captured.inputs[0], expected[0], np.ones(x.shape), "input")
        close(captured.output, expected[1], np.ones(x.shape), "output")

    def call(model, x, names):
        return nn.capture(model, x, names)

    case = Case(call, {"model": model, "x": x, "names": names}, check)
    case.said = ("Tanh",)
    return case.spoil(draw, x=BAD_INPUT, model=[None, 3, "a"], names=["2", "1.", None, 3, b"0"])


@fuzzed("concatenate", "ModuleList", "ModuleDict", "Value")
def concatenate(draw):
    x = draw.array(draw.shape(low=1, high=4, sizes=[1, 2, 3, 7]), draw.pick(WIDE), [normal])
    axis = draw.pick(range(-x.ndim, x.ndim))

    def check(y):
        parts = [np.tanh(wide(x)), np.maximum(wide(x), 0)]
        close(y, np.concatenate(parts, axis), np.ones(y.shape), "y")

    def call(x, axis):
        return Joined(axis)(x)

    case = Case(call, {"x": x, "axis": axis}, check)
    return case.spoil(draw, x=BAD_INPUT, axis=[9, -9, 1.5, None, "1", 10**30])


@fuzzed("save", "load", "metadata")
def checkpoint(draw):
    model, other = network(draw), None
    note = draw.pick([None, {}, {"a": [1, 2.5, "é", None, True]}])

    def call(model, metadata):
        nonlocal other
        other = copy.deepcopy(model)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.npz"
            nn.save(path, model, metadata)
            for p in other.parameters():
                p.data[...] = 0
            nn.load(path, other)
            return nn.metadata(path)

    def check(found):
        assert found == (note or {})
        for (_, a), (_, b) in zip(model.named_state(), other.named_state(), strict=True):
            np.testing.assert_array_equal(a, b)

    case = Case(call, {"model": model, "metadata": note}, check)
    bad = [3, "a", [1], np.ones(2), {"a": np.ones(2)}, {"a": {1}}, {"a": 1j}]
    case.said = ("JSON",)
    return case.spoil(draw, metadata=bad)


@fuzzed("gradcheck")
def gradcheck(draw):
    x = draw.array(draw.shape(low=1, high=3, sizes=[1, 2, 3]), np.float64, [normal])
    case = Case(nn.gradcheck, {"layer": nn.Tanh(), "x": x, "tolerance": 1e-4}, lambda found: None)
    bad_x = [bad for bad in BAD_INPUT if bad is not BAD_TENSOR[5]]
    tolerances = [*BAD_NUMBERS, None, -1]
    return case.spoil(draw, layer=[None, 3, "layer"], x=bad_x, tolerance=tolerances)
