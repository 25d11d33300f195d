"""`bn.normalize` and the backward pair have the right values, precision and use of memory."""

import itertools

import numpy as np
import pytest
import reference
from accuracy import SUMS, assert_sums
from layouts import MEMORY, SHAPES, same_order

import bn

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}


def close(actual, expected, dtype, scale=1):
    """Assert that values are within the promised 1e-6 × max(1, |expected|) for float32."""
    assert actual.dtype == dtype
    limit = scale * TOLERANCE[dtype] * np.maximum(1, np.abs(expected))
    assert (np.abs(actual - expected) <= limit).all(), np.max(np.abs(actual - expected) / limit)


def affine(channels):
    return np.linspace(0.5, 1.5, channels), np.linspace(-1, 1, channels)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_forward_and_backward_equal_the_float64_reference(shape, axis, dtype, rng, isa):
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    weight, bias = affine(shape[axis])
    s = bn.stats(x, axis)
    y = bn.normalize(x, s.mean, s.var, weight, bias, axis=axis)
    close(y, reference.forward(x, weight, bias, axis=axis), dtype)

    sums = bn.backward_reduce(dy, x, s.mean, axis=axis)
    dx = bn.backward_apply(dy, x, s.mean, s.var, weight, sums=sums, axis=axis)
    expected_dx, dweight, dbias = reference.backward(dy, x, weight, axis=axis)
    # with two values in a channel dx is a small difference of terms as large as 1 / std
    close(dx, expected_dx, dtype, scale=1 if s.count[0] > 2 else 1000)
    if dtype == np.float64:
        np.testing.assert_allclose(sums.dbias, dbias, rtol=1e-12, atol=1e-12)
    assert_sums(sums, dy, x, s.mean, axis)
    atol = SUMS["random"] * s.count[0] ** 0.5 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(sums.dweight(s.var), dweight, rtol=1e-6, atol=atol)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_given_statistics_are_constants_to_the_gradient(shape, axis, dtype, rng):
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    channels = shape[axis]
    weight, bias = affine(channels)
    mean, var = rng.standard_normal(channels), rng.random(channels) + 0.5
    given = {"axis": axis, "mean": mean, "var": var}
    close(
        bn.normalize(x, mean, var, weight, bias, axis=axis),
        reference.forward(x, weight, bias, **given),
        dtype,
    )
    dx = bn.backward_apply(dy, x, mean, var, weight, axis=axis)
    close(dx, reference.backward(dy, x, weight, **given)[0], dtype)


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 8), (3, 4, 5, 6), (2, 32, 3, 3)])
def test_any_memory_layout_of_any_argument_gives_the_same_result(shape, memory, rng):
    x, dy = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    s = bn.stats(x)
    sums = bn.backward_reduce(dy, x, s.mean)
    y = bn.normalize(x, s.mean, s.var)
    dx = bn.backward_apply(dy, x, s.mean, s.var, sums=sums)
    for change in itertools.product([memory, np.copy], repeat=3):
        x_, dy_, out = (f(a) for f, a in zip(change, (x, dy, np.empty_like(x)), strict=True))
        np.testing.assert_array_equal(bn.normalize(x_, s.mean, s.var), y)
        assert bn.normalize(x_, s.mean, s.var, out=out) is out
        np.testing.assert_array_equal(out, y)
        assert bn.backward_apply(dy_, x_, s.mean, s.var, sums=sums, out=out) is out
        np.testing.assert_array_equal(out, dx)
        again, x_ = bn.backward_reduce(dy_, x_, s.mean), same_order(x_)
        expected = bn.backward_reduce(dy, x_, s.mean)  # x has the order of additions
        np.testing.assert_array_equal(again.dy, expected.dy)
        np.testing.assert_array_equal(again.dy_xmu, expected.dy_xmu)
        assert_sums(again, dy, x, s.mean)


def test_the_output_keeps_the_order_of_axes_in_memory(rng):
    x = np.moveaxis(rng.standard_normal((2, 4, 5, 3)), 3, 1)  # NCHW lies channels-last in memory
    y = bn.normalize(x, np.zeros(3), np.ones(3))
    assert y.strides == x.strides
    assert y.flags.owndata


@pytest.mark.parametrize("ratio", [0, 1e2, 1e4, 1e6])
@pytest.mark.parametrize(
    ("shape", "axis"), [((8, 3, 40, 40), 1), ((8, 40, 40, 3), 3), ((500, 4), 1)]
)
def test_float32_keeps_its_digits_wherever_the_mean_is(shape, axis, ratio, rng, isa):
    for sign in (1, -1):
        x = (rng.standard_normal(shape) + sign * ratio).astype(np.float32)
        s = bn.stats(x, axis)
        weight, bias = affine(shape[axis])
        y = bn.normalize(x, s.mean, s.var, weight, bias, axis=axis)
        close(y, reference.forward(x, weight, bias, axis=axis), np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.1, -7.3e8, 1e30, 1e200])
def test_a_constant_channel_is_exactly_the_bias(value, dtype, isa):
    if abs(value) > float(np.finfo(dtype).max):
        pytest.skip("beyond this dtype")
    bias = np.array([0.1, -3.0, 1e-8], dtype)
    for shape, axis in [((16, 3, 9, 9), 1), ((16, 9, 9, 3), -1)]:
        x = np.full(shape, value, dtype)
        s = bn.stats(x, axis)
        for eps in (1e-5, 0.0):
            y = bn.normalize(x, s.mean, s.var, np.ones(3, dtype), bias, eps, axis=axis)
            assert (np.moveaxis(y, axis, -1) == bias).all()


def test_huge_values_normalize_to_finite_ones(rng, isa):
    x = (rng.standard_normal((8, 3, 20)) * 1e30).astype(np.float32)
    s = bn.stats(x)
    close(bn.normalize(x, s.mean, s.var), reference.forward(x, np.ones(3), np.zeros(3)), np.float32)


@pytest.mark.parametrize(("shape", "axis"), [((5, 3, 40), 1), ((40, 3), 1), ((3, 40, 48), 2)])
def test_normalizing_in_place_gives_the_same(shape, axis, rng):
    x, dy = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    s = bn.stats(x, axis)
    sums = bn.backward_reduce(dy, x, s.mean, axis=axis)
    y = bn.normalize(x, s.mean, s.var, axis=axis)
    for given in (sums, None):
        dx = bn.backward_apply(dy, x, s.mean, s.var, sums=given, axis=axis)
        for target in ("dy", "x"):
            a = {"dy": dy.copy(), "x": x.copy()}
            result = bn.backward_apply(
                a["dy"], a["x"], s.mean, s.var, sums=given, axis=axis, out=a[target]
            )
            assert result is a[target]
            np.testing.assert_array_equal(result, dx)
    assert bn.normalize(x, s.mean, s.var, axis=axis, out=x) is x
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("shift", [1, 3, 8])
def test_an_output_that_overlaps_the_input_is_right_all_the_same(shift, rng):
    memory = rng.standard_normal(4 * 3 * 50 + shift).astype(np.float32)
    for forwards in (True, False):
        shared = memory.copy()
        x, out = shared[:-shift].reshape(4, 3, 50), shared[shift:].reshape(4, 3, 50)
        if not forwards:
            x, out = out, x
        expected = bn.normalize(x.copy(), np.ones(3), np.ones(3))
        assert bn.normalize(x, np.ones(3), np.ones(3), out=out) is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", ["mean", "var", "weight", "bias"])
def test_an_output_that_holds_a_vector_of_the_call_is_right_all_the_same(name, rng):
    x, out = rng.standard_normal((6, 4, 50)), np.empty((6, 4, 50))
    vectors = {n: rng.random(4) + 0.5 for n in ("mean", "var", "weight", "bias")}
    expected = bn.normalize(x, **vectors)
    inside = out.reshape(-1)[40:44]
    inside[...] = vectors[name]
    bn.normalize(x, **(vectors | {name: inside}), out=out)
    np.testing.assert_array_equal(out, expected)


def test_the_gradient_has_the_order_of_axes_of_x(rng):
    x = np.moveaxis(rng.standard_normal((2, 4, 5, 3)), 3, 1)
    dy, s = rng.standard_normal(x.shape), bn.stats(x)
    for sums in (None, bn.backward_reduce(dy, x, s.mean)):
        assert bn.backward_apply(dy, x, s.mean, s.var, sums=sums).strides == x.strides


def test_a_read_only_input_gives_the_same_gradient(rng):
    x = rng.standard_normal((4, 3))

    def gradient():
        s = bn.stats(x)
        return bn.backward_apply(x, x, s.mean, s.var, sums=bn.backward_reduce(x, x, s.mean))

    expected = gradient()
    x.flags.writeable = False
    np.testing.assert_array_equal(gradient(), expected)


def test_normalizing_writes_nothing_outside_the_output(rng):
    for shape, axis in [((3, 4, 17), 1), ((17, 3), 1), ((5, 7, 65), 2)]:
        guarded = np.full(np.prod(shape) + 64, 7.0, np.float32)
        out = guarded[32:-32].reshape(shape)
        x = rng.standard_normal(shape).astype(np.float32)
        bn.normalize(x, np.zeros(shape[axis]), np.ones(shape[axis]), axis=axis, out=out)
        assert (guarded[:32] == 7).all()
        assert (guarded[-32:] == 7).all()


def test_sums_over_parts_of_a_batch_give_the_gradient_of_the_whole(rng):
    x, dy = (rng.standard_normal((12, 3, 5, 5)) for _ in range(2))
    weight = np.array([1.0, 2.0, 3.0])
    parts = [slice(0, 1), slice(1, 8), slice(8, 12)]
    s = bn.merge([bn.stats(x[p]) for p in parts])
    sums = bn.merge([bn.backward_reduce(dy[p], x[p], s.mean) for p in parts])
    dx = [bn.backward_apply(dy[p], x[p], s.mean, s.var, weight, sums=sums) for p in parts]
    expected, dweight, dbias = reference.backward(dy, x, weight)
    np.testing.assert_allclose(np.concatenate(dx), expected, atol=1e-13)
    np.testing.assert_allclose(sums.dweight(s.var), dweight)
    np.testing.assert_allclose(sums.dbias, dbias)


def test_an_infinite_x_does_not_reach_the_gradient_of_constant_statistics():
    x = np.array([[np.inf], [np.nan], [1.0]])
    dx = bn.backward_apply(np.ones_like(x), x, np.zeros(1), np.ones(1), eps=0.0)
    assert dx.tolist() == [[1], [1], [1]]


def test_empty_arrays_normalize_to_empty_ones():
    for shape in [(0, 3), (0, 3, 4, 4), (2, 3, 0)]:
        x, one = np.empty(shape, np.float32), np.ones(3)
        assert bn.normalize(x, one, one).shape == shape
        sums = bn.backward_reduce(x, x, one)
        assert sums.dbias.tolist() == sums.dweight(one).tolist() == [0, 0, 0]
        assert bn.backward_apply(x, x, one, one, sums=sums).shape == shape
    assert bn.normalize(np.empty((4, 0)), np.empty(0), np.empty(0)).shape == (4, 0)
