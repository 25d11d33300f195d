"""Elementwise passes give NumPy's values for any order in memory, and the same bits always."""

import contextvars
import itertools
import os
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from interrupted import wherever_a_signal_may_come
from layouts import MEMORY, channels_last_memory, contiguous, fortran
from numpy.lib.stride_tricks import as_strided

import bn
import bncore
from bn import nn

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38, 6.0]
SIZES = [*range(71), 4095, 4096, 4097, 65535, 65536, 100_003]
LARGE = (6, 5, 70, 71)  # enough values to be shared among threads, not a multiple of a vector
DTYPES = [np.float32, np.float64]


def relu(x, dy):
    return np.where(np.isnan(x), x, np.maximum(x, 0)), np.where(x <= 0, 0, dy)


def relu6(x, dy):
    y = np.where(np.isnan(x), x, np.clip(x, 0, 6))
    return y, np.where((x <= 0) | (x >= 6), 0, dy)


def leaky_relu(x, dy):
    slope = x.dtype.type(0.3)
    return np.where(x > 0, x, slope * x), np.where(x > 0, dy, slope * dy)


def sigmoid(x, dy):
    z = np.exp(-abs(x))
    y = np.where(x < 0, z, 1) / (1 + z)
    return y, dy * y * (1 - y)


def tanh(x, dy):
    y = np.tanh(x)
    return y, dy * (1 - y * y)


def residual(x, dy):
    """Compute what Residual(Tanh()) does."""
    y, dx = tanh(x, dy)
    return y + x, dx + dy


LAYERS = [
    (nn.ReLU, relu),
    (nn.ReLU6, relu6),
    (lambda: nn.LeakyReLU(0.3), leaky_relu),
    (nn.Sigmoid, sigmoid),
    (nn.Tanh, tanh),
    (lambda: nn.Residual(nn.Tanh()), residual),
]
IDS = ["relu", "relu6", "leaky_relu", "sigmoid", "tanh", "residual"]
with_layers = pytest.mark.parametrize(("make", "formulas"), LAYERS, ids=IDS)


def example(shape, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    return x, dy


def assert_right(layer, x, dy, formulas, exact=True):
    kept = x.copy(), dy.copy()
    with np.errstate(all="ignore"):
        y = layer(x)
        dx = layer.backward(dy)
        expected = formulas(*kept)
    same = np.testing.assert_array_equal if exact else assert_close
    for found, right in zip((y, dx), expected, strict=True):
        assert found.dtype == x.dtype
        same(found, right)
        assert not np.shares_memory(found, x) and not np.shares_memory(found, dy)
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(dy, kept[1])
    return y, dx


def assert_close(found, right):
    """Compare but for the last bits: in NumPy they may depend on a value's place in memory."""
    eps, largest = np.finfo(right.dtype).eps, abs(right).max(initial=0)
    np.testing.assert_allclose(found, right, rtol=4 * eps, atol=eps * largest)


def order(a):
    """Return the axes as they follow each other in memory, without those of length 1."""
    axes = [i for i in range(a.ndim) if a.shape[i] > 1]
    return sorted(axes, key=lambda i: -abs(a.strides[i]))


# ---- layers ----


@pytest.mark.parametrize("dtype", DTYPES)
@with_layers
def test_layers_have_their_values_for_each_number_of_values(make, formulas, dtype, isa):
    layer = make()
    for n in SIZES:
        x, dy = example(n, dtype)
        assert_right(layer, x, dy, formulas)


@pytest.mark.parametrize("dtype", DTYPES)
@with_layers
def test_layers_treat_special_values_as_numpy_does(make, formulas, dtype, isa):
    pairs = np.array(list(itertools.product(SPECIAL, SPECIAL))).astype(dtype)
    x, dy = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
    assert_right(make(), x, dy, formulas)


@pytest.mark.parametrize("dy_memory", [contiguous, channels_last_memory, MEMORY[3], MEMORY[-1]])
@pytest.mark.parametrize("memory", MEMORY)
@with_layers
def test_layers_take_any_memory_and_keep_the_inputs_order(make, formulas, memory, dy_memory):
    x, dy = example((3, 4, 5, 6))
    x, dy = memory(x), dy_memory(dy)
    x.flags.writeable = dy.flags.writeable = False
    y, dx = assert_right(make(), x, dy, formulas, exact=False)
    assert order(y) == order(dx) == order(x)


@pytest.mark.parametrize("memory", [contiguous, fortran, channels_last_memory])
@with_layers
def test_layers_of_large_tensors_are_right_in_each_order(make, formulas, memory):
    x, dy = example((9, 8, 80, 81))
    bn.set_num_threads(3)
    y, dx = assert_right(make(), memory(x), dy, formulas, exact=False)
    assert order(y) == order(dx) == order(memory(x))


@with_layers
def test_layers_take_broadcast_transposed_and_odd_views(make, formulas):
    x, dy = example((4, 1, 6, 3))
    wide = np.broadcast_to(x, (4, 5, 6, 3))
    for view, gradient in [
        (wide, np.broadcast_to(dy, wide.shape)),
        (x.transpose(2, 0, 3, 1), dy.transpose(2, 0, 3, 1)),
        (x[1:3, :, ::-2], dy[1:3, :, ::2]),
        (x[:, :, 2:3], dy[:, :, 1:2]),
        (x[0, 0, 0, 0:1], dy[0, 0, 0, 0:1]),
        (x[:0], dy[:0]),
        (x[:, :, :0], dy[:, :, :0]),
        (as_strided(x, (3, 1, 2), (4, 12345, 12)), dy.ravel()[:6].reshape(3, 1, 2)),
        (as_strided(x, (3, 3), (4, 4)), dy.ravel()[:9].reshape(3, 3)),
    ]:
        assert_right(make(), view, gradient, formulas, exact=False)


def softmax(axis):
    def formulas(x, dy):
        y = np.exp(x - x.max(axis=axis, keepdims=True))
        y /= y.sum(axis=axis, keepdims=True)
        return y, y * (dy - (dy * y).sum(axis=axis, keepdims=True))

    return formulas


@pytest.mark.parametrize("dy_memory", [contiguous, channels_last_memory, MEMORY[3], MEMORY[-1]])
@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_takes_any_memory_and_any_number_of_blocks(axis, memory, dy_memory, monkeypatch):
    monkeypatch.setattr(nn.blocks, "BLOCK_BYTES", 8 * 100)
    x, dy = example((3, 4, 5, 6), np.float64)
    x, dy = memory(x), dy_memory(dy)
    bn.set_num_threads(2)
    y, dx = assert_right(nn.Softmax(axis), x, dy, softmax(axis), exact=False)
    assert order(y) == order(dx) == order(x)


@with_layers
def test_layers_take_a_single_number(make, formulas):
    y, dx = assert_right(make(), np.array(-1.5), np.array(2.0), formulas)
    assert type(y) is type(dx) is np.ndarray and y.shape == dx.shape == ()


def test_a_sum_of_arrays_that_the_kernels_do_not_serve_is_numpys():
    for a, b in [
        (np.ones(3, np.float32), np.ones(3)),
        (np.ones((2, 3)), np.ones(3)),
        (np.ones(3, np.float16), np.ones(3, np.float16)),
        (np.ones(3, int), np.ones(3, int)),
        (np.float64(1), np.float64(2)),
        (np.ones(3, ">f8"), np.ones(3, ">f8")),
        (np.ma.array(np.ones(3), mask=[0, 1, 0]), np.ones(3)),
    ]:
        found, expected = bncore.add(a, b), a + b
        assert found.dtype == expected.dtype and type(found) is type(expected)
        np.testing.assert_array_equal(found, expected)


# ---- the same bits ----


def all_bits(x, dy):
    """Return the bytes of all that the layers, the losses and the optimizers compute."""
    arrays = []
    for make, _ in LAYERS:
        layer = make()
        arrays += [layer(x), layer.backward(dy)]
    for axis in range(2):
        layer = nn.Softmax(axis)
        arrays += [layer(x), layer.backward(dy)]
    layer = nn.Dropout(0.3, rng=0)
    arrays += [layer(x), layer.backward(dy)]
    for kind, options in OPTIMIZERS:
        p = nn.Parameter(x.copy())
        optimizer = getattr(nn, kind)([p], **options)
        for p.grad in (dy, x):
            optimizer.step()
        arrays.append(p.data)
    classes = np.argmax(dy, axis=1)
    for criterion, target in [
        (nn.CrossEntropyLoss(), classes),
        (nn.CrossEntropyLoss(label_smoothing=0.1), abs(dy)),
        (nn.MSELoss(), dy),
    ]:
        arrays += [np.array(criterion(x, target)), criterion.backward()]
    return [a.tobytes() for a in arrays]


OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.1}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.75, "centered": True}),
    ("RMSprop", {"alpha": 0.75, "centered": True, "momentum": 0.9, "weight_decay": 0.1}),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 5), LARGE, (41, 3, 60, 61)])
def test_threads_and_instruction_sets_do_not_change_a_bit(shape, dtype):
    x, dy = example(shape, dtype)
    before = bncore.selected_isa()
    try:
        bn.set_num_threads(1)
        bncore.select_isa("baseline")
        expected = all_bits(x, dy)
        for name in bncore.available_isas():
            bncore.select_isa(name)
            for threads in (1, 2, 3, 7):
                bn.set_num_threads(threads)
                assert all_bits(x, dy) == expected, (name, threads)
    finally:
        bncore.select_isa(before)


# ---- dropout ----


def kept_by(layer, shape, dtype=np.float32):
    return layer(np.ones(shape, dtype)) != 0


@pytest.mark.parametrize("p", [1e-3, 0.1, 0.5, 0.9])
def test_dropout_keeps_the_right_share(p, isa):
    n = 300_000
    kept = kept_by(nn.Dropout(p, rng=1), n)
    sigma = (n * p * (1 - p)) ** 0.5
    assert abs(kept.sum() - n * (1 - p)) < 5 * sigma


def test_dropout_with_the_smallest_and_the_largest_probabilities():
    assert kept_by(nn.Dropout(1e-9, rng=0), 100_000).all()
    assert kept_by(nn.Dropout(1e-30, rng=0), 100_000).all()
    assert not kept_by(nn.Dropout(1.0, rng=0), 100_000).any()
    assert not kept_by(nn.Dropout(1 - 1e-12, rng=0), 100_000, np.float64).any()


@pytest.mark.parametrize("distance", [1, 2, 3, 64, 128, 4096])
def test_what_dropout_keeps_does_not_depend_on_neighbours(distance):
    n = 300_000
    kept = kept_by(nn.Dropout(0.5, rng=2), n) * 2.0 - 1
    products = kept[distance:] * kept[:-distance]
    assert abs(products.sum()) < 5 * n**0.5


def test_each_call_of_dropout_draws_once_and_differs():
    layer, rng = nn.Dropout(0.5, rng=3), np.random.default_rng(3)
    masks = [kept_by(layer, 1000) for _ in range(3)]
    for one, other in itertools.combinations(masks, 2):
        assert abs((one == other).sum() - 500) < 5 * 250**0.5
    rng.integers(2**64, dtype=np.uint64, size=3)
    assert rng.random() == layer.rng.random()


def splitmix64(seed, k):
    """Number k of the generator, as in the paper."""
    mask = 2**64 - 1
    z = (seed + (k + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 201])
def test_dropout_compares_the_numbers_of_its_generator(n, isa):
    seed, p = 2**63 + 12345, 0.3
    halves = [h for k in range(n) for h in divmod(splitmix64(seed, k), 2**32)[::-1]]
    y, mask = bncore.dropout(np.full(n, 3.0), seed, p, 2.0)
    expected = np.array(halves[:n]) >= p * 2**32
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(y, 6.0 * expected)
    assert mask.dtype == np.uint8


def test_the_first_number_of_the_generator_is_the_published_one():
    assert splitmix64(1234567, 0) == 6457827717110365317


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("dy_memory", [contiguous, channels_last_memory, MEMORY[3], MEMORY[-1]])
def test_dropout_takes_any_memory(memory, dy_memory):
    x, dy = example((3, 4, 5, 6))
    x, dy = memory(x), dy_memory(dy)
    x.flags.writeable = dy.flags.writeable = False
    kept = x.copy(), dy.copy()
    layer = nn.Dropout(0.5, rng=0)
    y = layer(x)
    dx = layer.backward(dy)
    np.testing.assert_array_equal(y, np.where(y == 0, 0, 2 * kept[0]))
    np.testing.assert_array_equal(dx, np.where(y == 0, 0, 2 * kept[1]))
    assert 130 < (y == 0).sum() < 230
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(dy, kept[1])
    assert order(y) == order(dx) == order(x)


def test_dropout_multiplies_so_that_nan_and_infinity_times_zero_are_nan():
    layer = nn.Dropout(0.5, rng=0)
    with np.errstate(invalid="ignore"):
        assert np.isnan(layer(np.full(100, np.nan))).all()
        y = layer(np.full(100, np.inf))
        dropped = np.isnan(y)
        assert 20 < dropped.sum() < 80 and (y[~dropped] == np.inf).all()
    assert nn.Dropout(0.5, rng=0)(np.ones((0, 3))).shape == (0, 3)


# ---- optimizers ----


def old_step(kind, p, grad, state, options):
    """Make a step in NumPy, one operation after the other, in the dtype of the parameter."""
    r = p.dtype.type
    lr, decay = options.get("lr", 1e-3), options.get("weight_decay", 0)
    if kind == "AdamW":
        p *= r(1 - lr * options.get("weight_decay", 0.01))
        decay = 0
    g = p * r(decay) + grad if decay else grad
    if kind == "SGD":
        momentum = options.get("momentum", 0)
        if not momentum:
            p -= g * r(lr)
            return
        if "b" not in state:
            state["b"] = g.copy()
        else:
            state["b"] = state["b"] * r(momentum) + g * r(1 - options.get("dampening", 0))
        if options.get("nesterov"):
            p -= g * r(lr)
            p -= state["b"] * r(lr * momentum)
        else:
            p -= state["b"] * r(lr)
        return
    if kind == "RMSprop":
        old_rmsprop_step(p, g, state, {"lr": 1e-2, **options})
        return
    (beta1, beta2), eps = options.get("betas", (0.9, 0.999)), options.get("eps", 1e-8)
    state["t"] = t = state.get("t", 0) + 1
    state["m"] = state.get("m", np.zeros_like(p)) * r(beta1) + g * r(1 - beta1)
    state["v"] = state.get("v", np.zeros_like(p)) * r(beta2) + g * g * r(1 - beta2)
    root = np.sqrt(state["v"]) / r((1 - beta2**t) ** 0.5) + r(eps)
    p -= state["m"] / root * r(lr / (1 - beta1**t))


def old_rmsprop_step(p, g, state, options):
    r = p.dtype.type
    alpha = options.get("alpha", 0.99)
    state["v"] = state.get("v", np.zeros_like(p)) * r(alpha) + g * g * r(1 - alpha)
    spread = state["v"]
    if options.get("centered"):
        state["m"] = state.get("m", np.zeros_like(p)) * r(alpha) + g * r(1 - alpha)
        spread = np.maximum(spread - state["m"] * state["m"], 0)
    step = g / (np.sqrt(spread) + r(1e-8))
    if "momentum" in options:
        state["b"] = step = state.get("b", np.zeros_like(p)) * r(options["momentum"]) + step
    p -= step * r(options["lr"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_optimizers_have_the_bits_of_numpys_operations(kind, options, dtype, isa):
    for n in (*range(0, 71, 7), 1, 100_003):
        start, _ = example(n, dtype)
        p, expected, state = nn.Parameter(start.copy()), start.copy(), {}
        optimizer = getattr(nn, kind)([p], **options)
        for seed in range(3):
            p.grad = example(n, dtype, seed + 1)[0]
            kept = p.grad.copy()
            optimizer.step()
            old_step(kind, expected, kept, state, options)
            np.testing.assert_array_equal(p.data, expected)
            np.testing.assert_array_equal(p.grad, kept)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_a_step_of_many_parameters_has_the_bits_of_a_step_of_each(kind, options, dtype):
    shapes = [(3, 5), (), (4097,), (0, 3), (70_000,), (2, 1, 3), (4096,), (1,)]
    together = [nn.Parameter(example(shape, dtype)[0].copy()) for shape in shapes]
    alone = [nn.Parameter(p.data.copy()) for p in together]
    optimizers = [getattr(nn, kind)(together, **options)]
    optimizers += [getattr(nn, kind)([p], **options) for p in alone]
    for seed in range(3):
        for p, q in zip(together, alone, strict=True):
            p.grad = q.grad = example(p.shape, dtype, seed + 1)[0]
        for optimizer in optimizers:
            optimizer.step()
    for p, q in zip(together, alone, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def another_order(a):
    return np.asfortranarray(a) if a.flags.c_contiguous else np.ascontiguousarray(a)


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_optimizers_change_parameters_in_place_wherever_they_are(kind, options, memory):
    start, _ = example((3, 4, 5, 6))
    p, expected, state = nn.Parameter(memory(start.copy())), start.copy(), {}
    data = p.data
    optimizer = getattr(nn, kind)([p], **options)
    for seed in range(4):
        p.grad = example(start.shape, seed=seed + 1)[0]
        if seed % 2:
            p.grad = channels_last_memory(p.grad)
        p.grad.flags.writeable = False
        if seed == 2:  # a state that was saved and loaded may have another order
            for name, value in optimizer.state[0].items():
                if name != "step":
                    optimizer.state[0][name] = another_order(value)
        optimizer.step()
        old_step(kind, expected, p.grad, state, options)
        assert p.data is data
        np.testing.assert_array_equal(data, expected)


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_a_step_on_a_part_of_an_array_leaves_the_rest_alone(kind, options):
    whole = np.ones((6, 8))
    p = nn.Parameter(whole[1:5:2, ::3])
    optimizer = getattr(nn, kind)([p], **options)
    p.grad = np.ones(p.shape)
    optimizer.step()
    changed = np.zeros(whole.shape, bool)
    changed[1:5:2, ::3] = True
    assert (whole[changed] != 1).all() and (whole[~changed] == 1).all()


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_a_gradient_may_share_memory_with_its_parameter(kind, options):
    for offset in (0, 1, 7):
        memory = np.random.default_rng(0).standard_normal(50_000)
        p = nn.Parameter(memory[offset : offset + 40_000])
        p.grad = memory[:40_000]
        expected, state = p.data.copy(), {}
        old_step(kind, expected, p.grad.copy(), state, options)
        getattr(nn, kind)([p], **options).step()
        np.testing.assert_array_equal(p.data, expected)


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS)
def test_a_parameter_that_cannot_be_written_is_refused(kind, options):
    p = nn.Parameter(np.ones(3))
    p.grad = np.ones(3)
    p.data.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        getattr(nn, kind)([p], **options).step()
    np.testing.assert_array_equal(p.data, 1)


@pytest.mark.parametrize("data", [np.ones(3, np.float32), np.ones(4)])
def test_a_state_that_does_not_fit_a_replaced_parameter_breaks_nothing(data):
    p = nn.Parameter(np.ones(3))
    optimizer = nn.SGD([p], 0.1, momentum=0.5)
    p.grad = np.ones(3)
    optimizer.step()
    p.data, p.grad = data, np.ones_like(data)
    if data.size == 3:
        optimizer.step()
        np.testing.assert_allclose(p.data, 1 - 0.1 * 1.5)
    else:
        with pytest.raises(ValueError, match="shape"):
            optimizer.step()


def test_a_parameter_without_decay_may_be_infinite():
    for kind, options in [("SGD", {"momentum": 0.9}), ("SGD", {}), ("Adam", {})]:
        p = nn.Parameter(np.array([np.inf, 1.0]))
        p.grad = np.ones(2)
        getattr(nn, kind)([p], lr=0.1, **options).step()
        assert p.data[0] == np.inf and p.data[1] < 1


# ---- losses ----


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("from_logits", [True, False])
def test_cross_entropy_takes_any_memory(memory, from_logits):
    x, target = example((3, 4, 5, 6), np.float64)
    x, target = np.exp(x), np.argmax(target, axis=1)
    x /= x.sum(axis=1, keepdims=True)
    criterion = nn.CrossEntropyLoss(from_logits=from_logits)
    loss, gradient = criterion(x, target), criterion.backward()
    given = memory(x.copy())
    assert criterion(given, target) == pytest.approx(loss, rel=1e-14)
    found = criterion.backward()
    np.testing.assert_allclose(found, gradient, rtol=1e-12)
    assert order(found) == order(given)
    np.testing.assert_array_equal(given, x)


def test_losses_of_many_blocks_are_those_of_one(monkeypatch):
    x, target = example((50, 4, 30), np.float64)
    x = abs(x) / abs(x).sum(axis=1, keepdims=True)
    cases = [
        (nn.CrossEntropyLoss(), np.argmax(target, axis=1)),
        (nn.CrossEntropyLoss(label_smoothing=0.1), abs(target)),
        (nn.CrossEntropyLoss(from_logits=False), abs(target)),
        (nn.MSELoss(), target),
    ]
    whole = [(criterion(x, t), criterion.backward()) for criterion, t in cases]
    for module in (nn.blocks, nn.losses):
        monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 4 * 30 * 7)  # a last block with one row
    for (criterion, t), (loss, gradient) in zip(cases, whole, strict=True):
        assert criterion(x, t) == pytest.approx(loss, rel=1e-14)
        np.testing.assert_allclose(criterion.backward(), gradient, rtol=1e-13)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_target_in_any_block_is_found_and_the_next_loss_is_right(bad):
    x, target = example((400_000, 2), np.float64)
    for criterion in (nn.MSELoss(), nn.CrossEntropyLoss()):
        right = criterion(x, abs(target))
        gradient = criterion.backward()
        wrong = abs(target)
        wrong[-1, -1] = bad
        with pytest.raises(ValueError, match="target must be finite"):
            criterion(x, wrong)
        with pytest.raises(RuntimeError, match="must follow"):
            criterion.backward()
        assert criterion(x, abs(target)) == right
        np.testing.assert_array_equal(criterion.backward(), gradient)


def test_class_indices_for_one_class_are_no_probabilities():
    criterion = nn.CrossEntropyLoss()
    assert criterion(np.ones((3, 1)), np.zeros(3, int)) == 0
    np.testing.assert_array_equal(criterion.backward(), np.zeros((3, 1)))
    assert criterion(np.zeros((3, 1)), np.zeros((3, 1))) == 0
    np.testing.assert_array_equal(criterion.backward(), np.zeros((3, 1)))


# ---- blocks ----


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize(("count", "block"), [(0, 3), (1, 3), (3, 3), (4, 3), (100, 7), (1000, 1)])
def test_blocks_cover_a_range_once(count, block, threads):
    bn.set_num_threads(threads)
    calls = []
    bncore.in_blocks(lambda begin, end: calls.append((begin, end)), count, block)
    expected = [(i, min(i + block, count)) for i in range(0, count, block)] or [(0, 0)]
    assert sorted(calls) == expected


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError, SystemExit])
def test_an_error_of_a_block_reaches_the_caller_and_no_other_block_begins(error, threads):
    bn.set_num_threads(threads)
    calls = []

    def block(begin, end):
        calls.append(begin)
        if begin == 0:
            raise error("block 0")
        time.sleep(0.001)

    with pytest.raises(error, match="block 0"):
        bncore.in_blocks(block, 120, 1)
    before = list(calls)
    assert 0 in before and len(before) < 60
    bncore.in_blocks(lambda begin, end: None, 120, 1)
    assert calls == before


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_run_with_the_callers_error_state_and_context(threads):
    bn.set_num_threads(threads)
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("the caller's")
    seen = set()

    def block(begin, end):
        seen.add((variable.get(), np.geterr()["divide"]))
        variable.set("a block's")
        np.ones(1) / np.zeros(1)

    with np.errstate(divide="ignore"):
        bncore.in_blocks(block, 64, 1)
    assert variable.get() == "the caller's"
    assert {state for _, state in seen} == {"ignore"}
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        bncore.in_blocks(block, 64, 1)


@pytest.mark.skipif(not bn.show_config()["openmp"], reason="built without OpenMP")
def test_a_helper_thread_has_the_callers_context():
    """The caller waits in its first block, so that another thread takes the second."""
    bn.set_num_threads(2)
    variable = contextvars.ContextVar("variable")
    variable.set("the caller's")
    both, seen = threading.Barrier(2), {}

    def block(begin, end):
        both.wait(20)
        seen[threading.get_ident()] = variable.get(), np.geterr()["over"]

    with np.errstate(over="call", call=print):
        bncore.in_blocks(block, 2, 1)
    assert len(seen) == 2 and set(seen.values()) == {("the caller's", "call")}


def test_warnings_of_a_block_are_the_callers():
    bn.set_num_threads(2)
    x = np.full(1_000_000, np.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="invalid value"):
            nn.Softmax()(x.reshape(-1, 10))


def test_blocks_may_use_the_core_and_blocks_themselves():
    bn.set_num_threads(3)
    x = np.ones((40, 50_000), np.float32)
    sums = np.zeros(40)

    def row(begin, end):
        y = bncore.relu(x[begin])

        def part(b, e):
            with lock:
                sums[begin] += y[b:e].sum()

        bncore.in_blocks(part, 50_000, 5_000)

    lock = threading.Lock()
    bncore.in_blocks(row, 40, 1)
    assert (sums == 50_000).all()


def test_python_threads_may_use_blocks_at_once():
    bn.set_num_threads(3)
    x = np.random.default_rng(0).standard_normal(600_000)
    expected = np.tanh(x)
    with ThreadPoolExecutor(4) as pool:
        for y in pool.map(lambda _: nn.Tanh()(x), range(16)):
            np.testing.assert_allclose(y, expected, rtol=1e-15)


def test_an_interrupt_in_a_block_of_a_layer_leaves_it_ready_for_the_next_batch(monkeypatch):
    bn.set_num_threads(2)
    monkeypatch.setattr(nn.blocks, "BLOCK_BYTES", 64)
    x = np.random.default_rng(0).standard_normal((20, 4))
    layer, expected = nn.Sigmoid(), sigmoid(x, x)[0]
    count = 0
    for count in wherever_a_signal_may_come(lambda: layer(x)):
        np.testing.assert_allclose(layer(x), expected, rtol=1e-15)
        if count > 60:
            break
    assert count > 20


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_a_signal_while_blocks_run_is_an_error_of_the_caller():
    bn.set_num_threads(2)
    x = np.ones(300_000)
    layer = nn.Sigmoid()
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(20):
            signal.setitimer(signal.ITIMER_REAL, 0.002)
            with pytest.raises(KeyboardInterrupt):
                while True:
                    layer(x)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    np.testing.assert_allclose(layer(x), 1 / (1 + np.exp(-1.0)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_runs_blocks_and_so_does_its_parent():
    bn.set_num_threads(3)
    x = np.random.default_rng(0).standard_normal(600_000)
    layer = nn.Sigmoid()
    expected = layer(x)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a hang ends here, and fails below
        os._exit(0 if (layer(x) == expected).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(layer(x), expected)


# ---- memory ----


@with_layers
def test_outputs_come_from_recycled_memory(make, formulas):
    x, dy = example((64, 1024))
    layer = make()
    layer.backward(layer(x) * 1 + dy)
    before = bn.memory.info()
    for _ in range(3):
        layer(x)
        layer.backward(dy)
    after = bn.memory.info()
    assert after["misses"] == before["misses"] and after["hits"] >= before["hits"] + 6
