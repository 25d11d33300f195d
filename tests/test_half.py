"""float16 and bfloat16 come in and go out; the arithmetic is float32, the statistics float64."""

import ml_dtypes
import numpy as np
import pytest
import reference
from layouts import MEMORY

import bn
import bncore

HALVES = [np.float16, ml_dtypes.bfloat16]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("shape", "axis"), [((8, 5, 9, 9), 1), ((8, 9, 9, 5), 3), ((40, 7), 1)])
def test_forward_and_backward_are_float32s_rounded_once(shape, axis, dtype, rng):
    x, dy = ((rng.standard_normal(shape) + 3).astype(dtype) for _ in range(2))
    wide, wide_dy = x.astype(np.float32), dy.astype(np.float32)
    weight, bias = np.linspace(0.5, 2, shape[axis]), np.linspace(-1, 1, shape[axis])
    y, s = bn.normalize_batch(x, weight, bias, axis=axis)
    dx, sums = bn.backward_batch(dy, x, s, weight, axis=axis)
    expected, expected_s = bn.normalize_batch(wide, weight, bias, axis=axis)
    expected_dx, expected_sums = bn.backward_batch(wide_dy, wide, s, weight, axis=axis)
    assert y.dtype == dx.dtype == dtype
    np.testing.assert_array_equal(y, expected.astype(dtype))
    np.testing.assert_array_equal(dx, expected_dx.astype(dtype))
    np.testing.assert_array_equal(s.m2, expected_s.m2)
    np.testing.assert_array_equal(sums.dy_xmu, expected_sums.dy_xmu)


@pytest.mark.parametrize("dtype", HALVES)
def test_values_whose_squares_are_beyond_the_dtype_have_a_variance(dtype, rng):
    x = (rng.standard_normal((50, 3)) * 20000).astype(dtype)
    _, mean, m2 = reference.moments(x)
    np.testing.assert_allclose(bn.stats(x).mean, mean)
    np.testing.assert_allclose(bn.stats(x).m2, m2)


@pytest.mark.parametrize("memory", [m for m in MEMORY if m.__name__ != "misaligned"])
@pytest.mark.parametrize("dtype", HALVES)
def test_any_memory_layout_and_in_place(dtype, memory, rng):
    x = rng.standard_normal((3, 4, 5, 6)).astype(dtype)
    mean, var = rng.random(4), rng.random(4) + 0.5
    expected = bn.normalize(x, mean, var)
    np.testing.assert_array_equal(bn.normalize(memory(x), mean, var), expected)
    out = memory(np.zeros_like(x))
    assert bn.normalize(x, mean, var, out=out) is out
    np.testing.assert_array_equal(out, expected)
    assert bn.normalize(x, mean, var, out=x) is x
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("dtype", HALVES)
def test_layers_take_them_with_float32_parameters(dtype, rng):
    for layer in (bn.BatchNorm1d(3), bn.BatchNormalization()):
        x = rng.standard_normal((8, 3)).astype(dtype)
        y = layer(x)
        assert y.dtype == layer.backward(y).dtype == layer.eval()(x).dtype == dtype
        assert layer.weight.grad.dtype == layer.running_mean.dtype == np.float32


@pytest.mark.parametrize("size", [1, 1000, 70000])
def test_bfloat16_is_rounded_to_the_nearest_even(size, rng):
    bits = rng.integers(0, 2**32, (2, size), dtype=np.uint32)
    bits[0] = (bits[0] & 0xFFFF0000) | 0x8000  # halfway between two
    x = bits.view(np.float32)
    x[:, -1] = [3.39e38, np.nan]  # rounds to infinity
    narrow = np.empty(x.shape, ml_dtypes.bfloat16)
    with np.errstate(all="ignore"):
        expected = x.astype(ml_dtypes.bfloat16)
        bncore.assign(narrow, x)
    np.testing.assert_array_equal(narrow.astype(np.float32), expected.astype(np.float32))
    wide = np.empty(x.shape, np.float32)
    bncore.assign(wide, narrow)
    np.testing.assert_array_equal(wide, narrow.astype(np.float32))
