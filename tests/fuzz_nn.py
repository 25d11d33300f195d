"""The fuzz's table of `bn.nn`, each entry with its answer in float64."""

import copy
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
    normal,
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


ELEMENTWISE = {
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


def loss_case(draw, criterion, arguments, check, **bad):
    def call(**given):
        return criterion(*given.values()), criterion.backward()

    return Case(call, arguments, lambda found: check(*found)).spoil(draw, **bad)


@fuzzed("CrossEntropyLoss")
def cross_entropy(draw):
    shape = draw.shape(low=2, high=4, sizes=[1, 2, 3, 5, 17])
    logits, smoothing = draw.array(shape, draw.pick(WIDE), [normal]), draw.pick([0, 0.1])
    classes = shape[1]
    target = draw.rng.integers(0, classes, (shape[0], *shape[2:]))
    labels = np.moveaxis(np.eye(classes)[target], -1, 1)
    given = draw.pick([target, target.astype(np.int8), target.tolist(), labels])

    def check(loss, dlogits):
        t = labels * (1 - smoothing) + smoothing / classes
        z = wide(logits)
        log_p = z - z.max(1, keepdims=True)
        log_p = log_p - np.log(np.exp(log_p).sum(1, keepdims=True))
        count = logits.size / classes
        close(np.asarray(loss, logits.dtype), -(t * log_p).sum() / count, 20.0 * classes, "loss")
        close(dlogits, (np.exp(log_p) - t) / count, np.ones(shape) / count, "gradient", 4)

    bad_target = [
        target + classes, target - classes, target.astype(complex), labels * np.nan, -labels,
        "text", None, 3.5, np.ma.masked_array(target, True), np.ma.masked_array(labels, True),
        np.full(target.shape, 2**63, np.uint64), np.full(target.shape, HUGE), labels.astype(str),
        target[:0], target.astype(object), labels.astype(complex), np.full(shape, np.inf),
    ]  # fmt: skip
    case = loss_case(
        draw, nn.CrossEntropyLoss(label_smoothing=smoothing), {"logits": logits, "target": given},
        check, logits=[*BAD_INPUT, lambda a: a[:0], lambda a: a.reshape(-1)],
        target=bad_target,
    )  # fmt: skip
    case.said = ("class indices",)
    return case


@fuzzed("MSELoss")
def mse(draw):
    y = draw.array(draw.shape(low=1, sizes=[1, 2, 3, 5, 17]), draw.pick(WIDE), FINITE)
    target = draw.array(y.shape, draw.pick([*WIDE, np.float16]), FINITE)

    def check(loss, dy):
        d = wide(y) - wide(target.astype(y.dtype))
        size = (wide(y) ** 2 + wide(target) ** 2).mean()
        with np.errstate(over="ignore"):
            close(np.asarray(loss, y.dtype), (d * d).mean(), size, "loss", 4)
        close(dy, 2 * d / y.size, 2 * (np.abs(wide(y)) + np.abs(wide(target))) / y.size, "dy", 4)

    bad = [
        *BAD_SHAPE, lambda t: t * np.nan, lambda t: t.astype(complex), lambda t: t.astype(object),
        lambda t: t.astype(str), lambda t: np.ma.masked_array(t, np.ones(t.shape, bool)),
        lambda t: None, lambda t: "text", lambda t: t[..., None],
    ]  # fmt: skip
    return loss_case(
        draw, nn.MSELoss(), {"y": y, "target": target}, check,
        y=[*BAD_INPUT, lambda a: a[:0]], target=bad,
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


OPTIMIZERS = {
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
        # Adam divides by the step, which has few digits where the decay takes most of it away
        lost = (name == "Adam") & (np.abs(step + 0.01 * old) < 0.01 * np.abs(step))
        close(found, expected, np.where(lost, np.inf, np.abs(old) + np.abs(step) + 1), name, 4)

    case = Case(
        call, {"data": data, "grad": grad}, check, ("data",), said=("gradient", "parameter")
    )
    bad_grad = [*BAD_LIKE[1:], *HALF]
    bad_data = [BAD_TENSOR[4], *BAD_TENSOR[6:], *HALF]  # a matrix becomes a plain array
    return case.spoil(draw, grad=bad_grad, data=bad_data)


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


# ---- models ----


def network(draw):
    channels, dtype = draw.pick([1, 3, 16, 17, 24]), draw.pick(WIDE)
    conv = nn.Conv2d(2, channels, 3, padding=1, rng=1, dtype=dtype)
    body = [
        nn.Conv2d(channels, channels, 3, padding=1, rng=2, dtype=dtype),
        bn.BatchNorm2d(channels),
    ]
    block = draw.pick([body, [nn.Residual(nn.Sequential(*body))]])
    after = draw.pick([[nn.ReLU()], [nn.LeakyReLU()], [nn.Tanh()], []])
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
