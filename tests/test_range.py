"""At the ends of a range a result is right, or NaN or inf; never a number that is wrong."""

import ml_dtypes
import numpy as np
import pytest

import bn
from bn import nn

TINY, LARGEST = 1e-153, 1e153  # between which lie the standard deviations that keep all digits


def values(scale, dtype=np.float64):
    """Two channels that differ in their values by far more than a rounding."""
    x = np.random.default_rng(7).standard_normal((50, 2)).clip(-1.7, 1.7)
    return (x * scale).astype(dtype)


def gradient(x):
    return np.random.default_rng(8).standard_normal(x.shape).astype(x.dtype)


def expected(dy, x, eps):
    """Y and dx in longdouble, whose range is that of float64 or more, of values that are scaled."""
    scale = np.abs(x.astype(np.float64)).max()
    x, dy = x.astype(np.float64) / scale, dy.astype(np.float64)
    mean, var = x.mean(0), x.var(0) + eps / scale / scale
    x_hat = (x - mean) / np.sqrt(var)
    return x_hat, (dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0)) / np.sqrt(var) / scale


def passes(dy, x, eps):
    """(y, dx) of the functions, of the fused ones, of a layer and of layers computed together."""
    s = bn.stats(x)
    sums = bn.backward_reduce(dy, x, s.mean)
    yield (
        bn.normalize(x, s.mean, s.var, eps=eps),
        bn.backward_apply(dy, x, s.mean, s.var, eps=eps, sums=sums),
    )
    yield bn.normalize_batch(x, eps=eps)[0], bn.backward_batch(dy, x, s, eps=eps)[0]
    halves = bn.merge([bn.stats(x[:20]), bn.stats(x[20:])])
    yield (
        bn.normalize(x, halves.mean, halves.var, eps=eps),
        bn.backward_batch(dy, x, halves, eps=eps)[0],
    )
    dtype = x.dtype if x.dtype == np.float64 else np.float32
    layer = bn.BatchNorm1d(2, eps=eps, track_running_stats=False, dtype=dtype)
    yield layer(x), layer.backward(dy)


@pytest.mark.parametrize("eps", [0.0, 1e-5])
@pytest.mark.parametrize("scale", [TINY, 1e-100, 1e100, LARGEST])
def test_float64_is_right_within_its_range(scale, eps, isa):
    x = values(scale)
    dy = gradient(x)
    right_y, right_dx = expected(dy, x, eps)
    for y, dx in passes(dy, x, eps):
        np.testing.assert_allclose(y, right_y, rtol=1e-11, atol=1e-12 * abs(right_y).max())
        np.testing.assert_allclose(dx, right_dx, rtol=1e-10, atol=1e-11 * abs(right_dx).max())


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("scale", "eps"), [(1e-35, 0.0), (1e-40, 1e-5), (1e37, 0.0), (1e37, 1e-5)])
def test_single_precision_is_right_within_its_range(dtype, scale, eps, isa):
    x = values(scale, dtype)
    dy = gradient(x)
    right_y, right_dx = expected(dy, x, eps)
    rounding = 1e-5 if dtype == np.float32 else 2e-2
    for y, dx in passes(dy, x, eps):
        for found, right in ((y, right_y), (dx, right_dx)):
            far = abs(found.astype(np.float64) - right).max()
            assert far <= rounding * abs(right).max() + 1e-40


@pytest.mark.parametrize("eps", [0.0, 1e-5])
@pytest.mark.parametrize("scale", [1e155, 1e160, 1e300, 1e308])
def test_a_variance_that_overflows_gives_nan_and_no_zeros(scale, eps, isa):
    x = values(scale)
    with np.errstate(over="ignore", invalid="ignore"):
        for y, dx in passes(gradient(x), x, eps):
            assert np.isnan(y).all() and np.isnan(dx).all()
        s = bn.stats(x)
        assert np.isnan(bn.backward_reduce(x, x, s.mean).dweight(s.var)).all()


@pytest.mark.parametrize("scale", [1e-320, 1e-310, 1e-300, 1e-170, 1e-162, 1e-157])
def test_a_variance_that_vanishes_gives_nan_without_eps_and_the_right_values_with_it(scale, isa):
    x = values(scale)
    dy = gradient(x)
    for y, dx in passes(dy, x, 0.0):
        assert np.isnan(y).all() and np.isnan(dx).all()
    for y, dx in passes(dy, x, 1e-5):
        np.testing.assert_allclose(y, (x - x.mean(0)) / np.sqrt(1e-5), rtol=1e-9, atol=1e-320)
        np.testing.assert_allclose(dx, (dy - dy.mean(0)) / np.sqrt(1e-5), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_a_std_whose_inverse_no_float32_holds_gives_no_finite_number_without_eps(dtype, isa):
    x = values(1e-40, dtype)
    for y, dx in passes(gradient(x), x, 0.0):
        assert not np.isfinite(y.astype(np.float64)).any()
        assert not np.isfinite(dx.astype(np.float64)).any()


@pytest.mark.parametrize("value", [5e-324, 1.5e-323, 3e-310, 1e-200, 0.1, 1e200, 1.7e308])
def test_a_constant_channel_of_any_size_is_the_bias_without_eps(value, isa):
    x = np.full((37, 2), value)
    y, s = bn.normalize_batch(x, bias=np.array([1.0, 2.0]), eps=0.0)
    assert (s.m2 == 0).all() and (y == [1.0, 2.0]).all()
    merged = bn.merge([bn.stats(x[:5]), bn.stats(x[5:])])
    assert (merged.m2 == 0).all()


@pytest.mark.parametrize("value", [1e-170, 1e-162])
def test_parts_that_differ_by_less_than_a_square_holds_have_no_variance_of_0(value):
    merged = bn.merge([bn.stats(np.full((5, 1), each)) for each in (value, 2 * value)])
    assert merged.var > 0
    assert np.isnan(bn.normalize(np.full((5, 1), value), merged.mean, merged.var, eps=0.0)).all()


def test_a_running_variance_that_is_infinite_gives_nan_in_evaluation():
    layer = bn.BatchNorm1d(2, dtype=np.float64)
    layer.running_var[0] = np.inf
    model = nn.Sequential(layer, nn.ReLU()).eval()
    y = model(values(1.0))
    assert np.isnan(y[:, 0]).all() and np.isfinite(y[:, 1]).all()


def test_layers_that_are_computed_together_show_a_variance_that_overflows():
    model = nn.Sequential(bn.BatchNorm1d(2, dtype=np.float64), nn.ReLU())
    x = values(1e160)
    with pytest.warns(bn.NonFiniteWarning, match="values too large for float64 statistics"):
        y = model(x)
    assert np.isnan(y).all() and np.isnan(model.backward(np.ones_like(x))).any()
    model[0].nonfinite = "raise"
    with pytest.raises(ValueError, match="the batch must be finite"):
        model(x)
