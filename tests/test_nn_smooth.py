"""The activations made of exponentials are accurate, finite at the ends, and always the same."""

import math

import numpy as np
import pytest
from arrays import normal

import bn
import bncore
from bn import nn

DTYPES = [np.float32, np.float64]
LAYERS = [nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.ELU(0.5), nn.Softplus(), nn.Hardswish()]
with_layers = pytest.mark.parametrize("layer", LAYERS, ids=repr)


def points(dtype, low):
    """Values from low to 9, and small ones of both signs."""
    small = np.logspace(-30, 0, 200)
    x = np.concatenate([np.linspace(low, 9, 3000), small, -small, normal(500)])
    return x.astype(dtype)


def units(found, expected):
    """Return the largest error in units of the last place."""
    expected = np.array(expected)
    step = np.spacing(np.abs(expected).astype(found.dtype)).astype(float)
    return (np.abs(found.astype(float) - expected) / step).max()


def values_and_slopes(layer, x):
    y = layer(x)
    return y, layer.backward(np.ones_like(x))


# ---- accuracy ----


@pytest.mark.parametrize(("dtype", "low"), [(np.float32, -13), (np.float64, -36)])
def test_gelu_has_the_digits_of_erfc_in_its_tail(dtype, low):
    x = points(dtype, low)
    cdf = [math.erfc(-v / math.sqrt(2)) / 2 for v in x.tolist()]
    expected = x.astype(float) * cdf
    if dtype == np.float32:
        assert units(nn.GELU()(x), expected) < 6
    # In float64 the argument of erfc is rounded, which costs digits of the tail.
    np.testing.assert_allclose(nn.GELU()(x), expected, rtol=1e-6 if dtype == np.float32 else 1e-12)
    near = abs(x) < 1
    assert units(nn.GELU()(x)[near], expected[near]) < 6


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_slope_of_gelu_is_right_to_the_last_digits(dtype):
    x = points(dtype, -30)
    expected = [
        math.erfc(-v / math.sqrt(2)) / 2 + v * math.exp(-v * v / 2) / math.sqrt(2 * math.pi)
        for v in x.tolist()
    ]
    found = values_and_slopes(nn.GELU(), x)[1]
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize(("dtype", "low"), [(np.float32, -85), (np.float64, -700)])
def test_elu_and_its_slope_have_the_digits_of_expm1_and_exp(dtype, low):
    x = points(dtype, low)
    y, slope = values_and_slopes(nn.ELU(), x)
    assert units(y, [v if v > 0 else math.expm1(v) for v in x.tolist()]) < 2
    assert units(slope, [1.0 if v > 0 else math.exp(v) for v in x.tolist()]) < 2


@pytest.mark.parametrize(("dtype", "low"), [(np.float32, -85), (np.float64, -700)])
def test_softplus_and_silu_have_nearly_all_digits(dtype, low):
    x = points(dtype, low)
    expected = [max(v, 0.0) + math.log1p(math.exp(-abs(v))) for v in x.tolist()]
    assert units(nn.Softplus()(x), expected) < 5
    larger = [1 / (1 + math.exp(-abs(v))) for v in x.tolist()]
    expected = [
        v * (p if v > 0 else p * math.exp(v)) for v, p in zip(x.tolist(), larger, strict=True)
    ]
    assert units(nn.SiLU()(x), expected) < 5


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_below_the_smallest_normal_number_are_rounded_once(dtype):
    tiny = float(np.finfo(dtype).tiny)
    x = np.linspace(math.log(tiny) - 12, math.log(tiny), 50).astype(dtype)
    found = values_and_slopes(nn.ELU(), x)[1]
    step = float(np.finfo(dtype).smallest_subnormal)
    np.testing.assert_allclose(found, [math.exp(v) for v in x.tolist()], rtol=1e-6, atol=step)


# ---- the ends ----


@pytest.mark.parametrize("dtype", DTYPES)
@with_layers
def test_activations_have_their_limits_at_large_and_infinite_values(layer, dtype):
    largest = np.finfo(dtype).max
    x = np.array([-np.inf, -largest, -1000, 1000, largest, np.inf], dtype)
    y, slope = values_and_slopes(layer, x)
    lowest = -0.5 if isinstance(layer, nn.ELU) else 0
    np.testing.assert_array_equal(y, [lowest, lowest, lowest, *x[3:]])
    np.testing.assert_array_equal(slope, [0, 0, 0, 1, 1, 1])


@with_layers
def test_nan_stays(layer):
    y, slope = values_and_slopes(layer, np.full(37, np.nan, np.float32))
    assert np.isnan(y).all() and np.isnan(slope).all()


# ---- the same bits ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", [*LAYERS, nn.PReLU(6, dtype=np.float64)], ids=repr)
def test_any_instruction_set_and_number_of_threads_gives_the_same_bits(layer, dtype):
    x = (4 * normal(5, 6, 71, 73)).astype(dtype)
    before, found = bncore.selected_isa(), set()
    try:
        for isa in bncore.available_isas():
            bncore.select_isa(isa)
            for threads in (1, 3):
                with bn.threads(threads):
                    layer.zero_grad()
                    arrays = [*values_and_slopes(layer, x), *(p.grad for p in layer.parameters())]
                found.add(b"".join(a.tobytes() for a in arrays))
    finally:
        bncore.select_isa(before)
    assert len(found) == 1


def test_a_value_does_not_depend_on_its_neighbours_and_its_place():
    x = normal(4133, dtype=np.float32)
    for layer in LAYERS:
        whole = layer(x)
        for begin, end in ((1, 4130), (7, 30), (4100, 4101)):
            np.testing.assert_array_equal(layer(x[begin:end].copy()), whole[begin:end])


# ---- PReLU ----


@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("memory", [np.copy, np.asfortranarray, lambda x: x[:, ::-1]])
def test_prelu_has_a_slope_for_each_channel_in_any_memory(axis, memory):
    x, dy = memory(normal(3, 4, 5)), normal(3, 4, 5, seed=1)
    layer = nn.PReLU(x.shape[axis], dtype=np.float64, axis=axis)
    layer.weight[...] = np.linspace(-1, 2, x.shape[axis])
    y, dx = layer(x), layer.backward(dy)
    slope = layer.weight.data.reshape([-1 if i == axis % 3 else 1 for i in range(3)])
    np.testing.assert_array_equal(y, np.where(x > 0, x, slope * x))
    np.testing.assert_array_equal(dx, np.where(x > 0, dy, slope * dy))
    others = tuple(i for i in range(3) if i != axis % 3)
    np.testing.assert_allclose(layer.weight.grad, (dy * np.minimum(x, 0)).sum(others))


def test_prelu_trains_and_has_pytorchs_state():
    layer = nn.PReLU(3, 0.1)
    assert list(layer.state_dict()) == ["weight"]
    x = -np.ones((4, 3), np.float32)
    layer.backward(layer(x))
    nn.SGD(layer.parameters(), lr=0.1).step()
    np.testing.assert_allclose(layer.weight.data, 0.1 - 0.1 * 0.1 * 4, rtol=1e-5)
    layer.zero_grad()
    layer.trainable = False
    layer.backward(layer(x))
    assert layer.weight.grad is None


def test_prelu_uses_the_slopes_of_its_forward_in_backward():
    layer, x = nn.PReLU(dtype=np.float64), -np.ones((2, 3))
    layer(x)
    layer.weight[...] = 5
    np.testing.assert_array_equal(layer.backward(np.ones((2, 3))), np.full((2, 3), 0.25))


@pytest.mark.parity
@pytest.mark.parametrize(
    ("count", "shape"), [(1, (3, 4, 5)), (4, (3, 4, 5)), (4, (3, 4)), (1, (3,))]
)
def test_prelu_equals_pytorch(torch, count, shape):
    x, dy = normal(*shape), normal(*shape, seed=1)
    x[0] = 0
    theirs = torch.nn.PReLU(count, 0.3, dtype=torch.float64)
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    ty.backward(torch.tensor(dy))
    ours = nn.PReLU(count, 0.3, dtype=np.float64)
    np.testing.assert_allclose(ours(x), ty.detach().numpy(), rtol=1e-15)
    np.testing.assert_allclose(ours.backward(dy), tx.grad.numpy(), rtol=1e-15)
    np.testing.assert_allclose(ours.weight.grad, theirs.weight.grad.numpy(), rtol=1e-12, atol=1e-15)


# ---- LogSoftmax ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_softmax_stays_finite_at_large_values(dtype):
    x = np.array([[1000, 0, -1000], [-1000, -1000, -1000]], dtype)
    expected = [[0, -1000, -2000], [-np.log(3)] * 3]
    np.testing.assert_allclose(nn.LogSoftmax()(x), expected, rtol=1e-6)


def test_layers_say_their_options():
    assert repr(nn.GELU("tanh")) == "GELU(approximate='tanh')"
    assert repr(nn.ELU(2)) == "ELU(alpha=2.0)"
    assert repr(nn.Softplus(2, 5)) == "Softplus(beta=2.0, threshold=5.0)"
    assert repr(nn.PReLU(3)) == "PReLU(num_parameters=3)"
    assert repr(nn.LogSoftmax(1)) == "LogSoftmax(dim=1)"


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="approximate must be one of 'none', 'tanh', got 'erf'"):
        nn.GELU("erf")
    with pytest.raises(ValueError, match="beta must be a finite number above 0, got 0"):
        nn.Softplus(0)
    with pytest.raises(ValueError, match=r"PReLU .*3.* on axis 1, got shape \(2, 4\)"):
        nn.PReLU(3)(np.ones((2, 4)))
