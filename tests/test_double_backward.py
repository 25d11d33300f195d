"""The gradient of the backward pass equals central differences of a backward pass in NumPy."""

import itertools

import ml_dtypes
import numpy as np
import pytest
import reference
from gradcheck import central_differences
from layouts import MEMORY

from bn.double_backward import batch_norm_double_backward
from bn.functional import stats

LAYOUTS = [((5, 3), 1), ((2, 3, 2, 2), 1), ((2, 2, 3, 2), -1)]
GIVEN = list(itertools.product([True, False], repeat=3))
X = np.ones((4, 3, 2, 2), np.float32)
ONE = np.ones(3, np.float32)


def case(rng, shape, axis=1, dtype=np.float64, offset=0.0, given=(True, True, True)):
    """Return (ddx, ddweight, ddbias), dy, x, weight, mean, var at random, or None in the first."""
    channels = shape[axis]
    ddx, dy, x = (rng.standard_normal(shape).astype(dtype) for _ in range(3))
    x += np.asarray(offset, dtype)
    ddweight, ddbias, mean = (rng.standard_normal(channels) for _ in range(3))
    weight, var = (rng.random(channels) + 0.5 for _ in range(2))
    every = zip((ddx, ddweight, ddbias), given, strict=True)
    return tuple(v if wanted else None for v, wanted in every), dy, x, weight, mean, var


def of_batch(second, dy, x, weight=None, eps=1e-5, axis=1):
    s = stats(x, axis)
    return batch_norm_double_backward(*second, dy, x, s.mean, s.var, weight, eps, axis=axis)


@pytest.mark.parametrize("given", GIVEN, ids=str)
@pytest.mark.parametrize("scaled", [True, False], ids=["weight", "no weight"])
@pytest.mark.parametrize(("training", "eps"), [(True, 1e-5), (True, 0), (False, 1e-5)])
@pytest.mark.parametrize(("shape", "axis"), LAYOUTS)
def test_double_backward_is_the_gradient_of_the_backward_pass(
    shape, axis, training, eps, scaled, given, rng
):
    second, dy, x, weight, mean, var = case(rng, shape, axis, given=given)
    constants = {} if training else {"mean": mean, "var": var}
    if not scaled:
        weight = np.ones_like(weight)

    def objective():
        first = reference.backward(dy, x, weight, eps, axis, **constants)
        return sum(np.sum(dd * d) for dd, d in zip(second, first, strict=True) if dd is not None)

    if training:
        found = of_batch(second, dy, x, weight if scaled else None, eps, axis)
    else:
        found = batch_norm_double_backward(
            *second, dy, x, mean, var, weight if scaled else None, eps, training=False, axis=axis
        )
    assert (found[2] is not None) == scaled
    for array, gradient in zip((dy, x, weight), found, strict=True):
        if gradient is not None:
            assert gradient.dtype == np.float64 and gradient.shape == array.shape
            expected = central_differences(objective, array).reshape(array.shape)
            np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("offset", [0, 1e4])
@pytest.mark.parametrize("training", [True, False])
def test_double_backward_of_float32_keeps_its_digits_far_from_zero(training, offset, rng):
    second, dy, x, weight, mean, var = case(rng, (8, 3, 9, 9), dtype=np.float32, offset=offset)
    if training:
        mean, var = stats(x).mean, stats(x).var
    else:
        mean = mean + offset
    ddx, *vectors = second
    rest = (var, weight, 1e-5, training)
    found = batch_norm_double_backward(ddx, *vectors, dy, x, mean, *rest)
    assert found[0].dtype == found[1].dtype == np.float32 and found[2].dtype == np.float64
    ddx, dy, x = (a.astype(np.float64) for a in (ddx, dy, x))
    about_zero = batch_norm_double_backward(ddx, *vectors, dy, x - offset, mean - offset, *rest)
    for a, b in zip(found, about_zero, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shift", ["ddx", "dy"])
def test_a_large_mean_of_a_gradient_costs_no_digits_of_dx_and_dweight(shift, rng):
    (ddx, _, _), dy, x, weight, *_ = case(rng, (50, 3))
    expected = of_batch((ddx, None, None), dy, x, weight)
    if shift == "ddx":
        ddx = ddx + 1e6
    else:
        dy = dy + 1e6
    for a, b in zip(of_batch((ddx, None, None), dy, x, weight)[1:], expected[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_double_backward_of_halves_is_that_of_float32_rounded_a_few_times(dtype, rng):
    second, dy, x, weight, *_ = case(rng, (8, 3, 5, 5), dtype=dtype)
    found = of_batch(second, dy, x, weight)
    single = tuple(a.astype(np.float32) for a in (second[0], dy, x))
    expected = of_batch((single[0], *second[1:]), *single[1:], weight)
    step = float(ml_dtypes.finfo(dtype).eps)
    for a, b in zip(found[:2], expected[:2], strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a.astype(np.float32), b, rtol=step, atol=4 * step)
    np.testing.assert_array_equal(found[2], expected[2])


@pytest.mark.parametrize("memory", MEMORY)
def test_double_backward_is_the_same_for_any_memory_layout_and_changes_no_argument(memory, rng):
    second, dy, x, weight, *_ = case(rng, (3, 4, 5, 6), dtype=np.float32)
    expected = of_batch(second, dy, x, weight)
    arrays = memory(second[0]), memory(dy), memory(x)
    kept = [a.copy() for a in (*arrays, *second[1:], weight)]
    found = of_batch((arrays[0], *second[1:]), *arrays[1:], weight)
    for a, b in zip((*arrays, *second[1:], weight), kept, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_double_backward_of_a_constant_channel_without_eps_is_that_of_the_bias_alone(rng):
    second, dy, x, weight, *_ = case(rng, (6, 2))
    x[:, 1] = 1e4
    ddy, dx, dweight = of_batch(second, dy, x, weight, eps=0)
    np.testing.assert_array_equal(ddy[:, 1], np.full(6, second[2][1]))
    np.testing.assert_array_equal(dx[:, 1], np.zeros(6))
    assert dweight[1] == 0 and np.isfinite(dx).all()


def test_double_backward_takes_one_value_in_a_channel_for_a_constant(rng):
    second, dy, x, weight, *_ = case(rng, (1, 3))
    ddy, dx, dweight = of_batch(second, dy, x, weight)
    np.testing.assert_array_equal(ddy[0], second[2])
    np.testing.assert_array_equal(dx[0], np.zeros(3))
    np.testing.assert_array_equal(dweight, np.zeros(3))


@pytest.mark.parametrize("training", [True, False])
def test_double_backward_of_an_empty_batch_is_empty(training):
    empty = X[:0]
    ddy, dx, dweight = batch_norm_double_backward(
        empty, ONE, ONE, empty, empty, ONE, ONE, ONE, training=training
    )
    assert ddy.shape == dx.shape == empty.shape
    np.testing.assert_array_equal(dweight, np.zeros(3))


def call(ddx=X, ddweight=ONE, ddbias=ONE, dy=X, x=X, mean=ONE, var=ONE, weight=ONE, **options):
    return batch_norm_double_backward(ddx, ddweight, ddbias, dy, x, mean, var, weight, **options)


BAD_CALLS = {
    "x must be a numpy array, got list": lambda: call(x=[[1.0]]),
    r"x must have at least 2 axes, got shape \(3,\)": lambda: call(x=ONE),
    "axis must be between -4 and 3, got 4": lambda: call(axis=4),
    r"mean must have shape \(3,\), got \(2,\)": lambda: call(mean=ONE[:2]),
    "var must be a numpy array, got NoneType": lambda: call(var=None),
    r"weight must have shape \(3,\), got \(4,\)": lambda: call(weight=np.ones(4)),
    "ddweight must be float32 or float64, got int64": lambda: call(ddweight=np.ones(3, int)),
    r"ddbias must have shape \(3,\), got \(3, 1\)": lambda: call(ddbias=np.ones((3, 1))),
    "dy must be float32, as x, got float64": lambda: call(dy=np.ones(X.shape)),
    r"ddx must have shape \(4, 3, 2, 2\), got \(3,\)": lambda: call(ddx=ONE),
    "eps must be a number of at least 0, got -1": lambda: call(eps=-1),
    "order must be 2, the highest that there is, got 3": lambda: call(order=3),
}


@pytest.mark.parametrize("message", BAD_CALLS)
def test_a_bad_call_of_double_backward_says_what_was_expected_and_what_came(message):
    with pytest.raises((TypeError, ValueError), match=message):
        BAD_CALLS[message]()
