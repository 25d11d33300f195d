"""float16 and bfloat16 come in and go out; the arithmetic is float32, the statistics float64."""

import ml_dtypes
import numpy as np
import pytest
import reference
from layouts import MEMORY

import bn

HALVES = [np.float16, ml_dtypes.bfloat16]


@pytest.mark.parametrize("dtype", [*HALVES, np.float32])
def test_swapped_bytes_are_refused(dtype):
    swapped = np.ones((4, 3), dtype).view(np.dtype(dtype).newbyteorder())
    one = np.ones(3)
    for call in (
        lambda: bn.stats(swapped),
        lambda: bn.BatchNorm1d(3)(swapped),
        lambda: bn.normalize(swapped, one, one),
        lambda: bn.batch_norm(swapped, one, one),
    ):
        with pytest.raises(TypeError, match=r"must be float16, bfloat16, .* in swapped byte order"):
            call()
    x = np.ones((4, 3), dtype)
    for name in ("out", "residual"):
        with pytest.raises(TypeError, match=f"{name} must be {np.dtype(dtype)}, as x, got"):
            bn.normalize(x, one, one, **{name: swapped})
    with pytest.raises(TypeError, match="dy must be"):
        bn.backward_reduce(swapped, x, one)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("shape", "axis"), [((8, 5, 9, 9), 1), ((8, 9, 9, 5), 3), ((40, 7), 1)])
def test_forward_and_backward_of_halves_are_float32s_rounded_once(shape, axis, dtype, rng):
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
def test_halves_whose_squares_are_beyond_their_dtype_have_a_variance(dtype, rng):
    x = (rng.standard_normal((50, 3)) * 20000).astype(dtype)
    _, mean, m2 = reference.moments(x)
    np.testing.assert_allclose(bn.stats(x).mean, mean)
    np.testing.assert_allclose(bn.stats(x).m2, m2)


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("dtype", HALVES)
def test_halves_give_the_same_in_any_memory_layout_and_in_place(dtype, memory, rng):
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
def test_layers_with_float32_parameters_take_halves(dtype, rng):
    for layer in (bn.BatchNorm1d(3), bn.BatchNormalization()):
        x = rng.standard_normal((8, 3)).astype(dtype)
        y = layer(x)
        assert y.dtype == layer.backward(y).dtype == layer.eval()(x).dtype == dtype
        assert layer.weight.grad.dtype == layer.running_mean.dtype == np.float32


@pytest.mark.parametrize("dtype", HALVES)
def test_every_half_is_read_exactly_and_every_result_rounded_to_the_nearest_even(dtype, isa):
    # Results are ties, tiny and huge ones.
    weight = np.array([1, 1.5, 0.5, 1 / 3, 2.0**-14, 2.0**20, 2.0**-120, -3.0])
    bits = np.arange(2**16, dtype=np.uint16)
    x = np.repeat(bits.view(dtype)[:, None], weight.size, axis=1)
    zero, one = np.zeros(weight.size), np.ones(weight.size)
    with np.errstate(all="ignore"):
        wide = bn.normalize(x.astype(np.float32), zero, one, weight, eps=0)
        expected = wide.astype(dtype)
    for array, axis in ((x, 1), (np.ascontiguousarray(x.T), 0)):
        y = bn.normalize(array, zero, one, weight, eps=0, axis=axis)
        found = y if axis else y.T
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(found.astype(np.float32), expected.astype(np.float32))
    np.testing.assert_array_equal(expected[:, 0].astype(np.float32), bits.view(dtype).astype("f4"))
