"""Clipping shortens all gradients by one factor, whose norm is exact."""

import math
import re

import numpy as np
import pytest
from layouts import cropped, every_second, fortran, misaligned, reversed_all

import bn
from bn import nn

SHAPES = [(3, 4), (2,), ()]


def parameters(dtype=np.float64, scale=1.0, shapes=SHAPES):
    rng = np.random.default_rng(0)
    params = [nn.Parameter(np.zeros(shape, dtype)) for shape in shapes]
    for p in params:
        p.grad = np.asarray(scale * rng.standard_normal(p.shape), dtype)
    return params


def all_gradients(params):
    return np.concatenate([p.grad.ravel() for p in params]).astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm_type", [0.5, 1, 2, 3, np.inf])
def test_the_norm_is_that_of_one_vector_and_all_gradients_get_one_factor(norm_type, dtype):
    params = parameters(dtype)
    before, arrays = all_gradients(params), [p.grad for p in params]
    expected = (
        abs(before).max()
        if norm_type == np.inf
        else (abs(before) ** norm_type).sum() ** (1 / norm_type)
    )
    norm = nn.clip_grad_norm(params, 0.5, norm_type)
    assert type(norm) is float and norm == pytest.approx(expected, rel=1e-14)
    after = all_gradients(params)
    np.testing.assert_allclose(after, before * 0.5 / (expected + 1e-6), rtol=1e-6)
    assert all(p.grad is a and a.dtype == dtype for p, a in zip(params, arrays, strict=True))


def test_gradients_that_are_short_enough_keep_their_bits():
    params = parameters()
    before = all_gradients(params)
    norm = nn.clip_grad_norm(params, 1e3)
    np.testing.assert_array_equal(all_gradients(params), before)
    assert norm == pytest.approx(np.linalg.norm(before), rel=1e-14)


def test_an_infinite_largest_norm_only_measures():
    params = parameters()
    params[0].grad[0, 0] = np.inf
    before = all_gradients(params)
    assert nn.clip_grad_norm(params, np.inf) == np.inf
    np.testing.assert_array_equal(all_gradients(params), before)


def test_parameters_without_a_gradient_are_left_out_and_one_parameter_is_enough():
    params = parameters()
    params[0].grad = None
    expected = np.linalg.norm(all_gradients(params[1:]))
    assert nn.clip_grad_norm(iter(params), 1e3) == pytest.approx(expected, rel=1e-14)
    assert params[0].grad is None
    assert nn.clip_grad_norm(params[0], 1.0) == 0.0
    assert nn.clip_grad_norm(params[1], 1e3) == pytest.approx(
        np.linalg.norm(params[1].grad), rel=1e-14
    )


@pytest.mark.parametrize("scale", [1e200, 1e-200])
@pytest.mark.parametrize("norm_type", [1.5, 2, 7])
def test_the_norm_neither_overflows_nor_underflows(scale, norm_type):
    params, scaled = parameters(), parameters(scale=scale)
    norm = nn.clip_grad_norm(params, 1e9, norm_type)
    assert nn.clip_grad_norm(scaled, 1e300, norm_type) == pytest.approx(norm * scale, rel=1e-13)


def test_the_norm_of_float32_gradients_is_computed_in_float64():
    p = nn.Parameter(np.zeros(3_000_000, np.float32))
    p.grad = np.full(p.shape, 0.1, np.float32)
    expected = float(p.grad[0]) * math.sqrt(3_000_000)
    assert nn.clip_grad_norm([p], 1e9) == pytest.approx(expected, rel=1e-14)
    p.grad = np.full(p.shape, 1e30, np.float32)
    expected = float(p.grad[0]) * math.sqrt(3_000_000)
    assert nn.clip_grad_norm([p], 1.0) == pytest.approx(expected, rel=1e-14)
    assert np.isfinite(p.grad).all()


def test_the_number_of_threads_does_not_change_a_bit():
    found = []
    for threads in (1, 2, 3):
        bn.set_num_threads(threads)
        params = parameters(np.float32, shapes=[(1_000_003,), (7, 3)])
        norm = np.linalg.norm(all_gradients(params))
        found.append((nn.clip_grad_norm(params, 1.0), all_gradients(params).tobytes()))
        assert found[-1][0] == pytest.approx(norm, rel=1e-13)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("layout", [cropped, every_second, fortran, misaligned, reversed_all])
def test_gradients_may_lie_in_memory_in_any_way(layout):
    grad = np.random.default_rng(0).standard_normal((4, 5, 6))
    p = nn.Parameter(np.zeros(grad.shape))
    p.grad = given = layout(grad)
    nn.clip_grad_norm([p], 1.0)
    np.testing.assert_allclose(given, grad / (np.linalg.norm(grad) + 1e-6), rtol=1e-12)


def test_a_gradient_of_nan_makes_all_nan_and_one_of_infinity_makes_the_others_zero():
    params = parameters()
    params[1].grad[0] = np.nan
    assert math.isnan(nn.clip_grad_norm(params, 1.0)) and np.isnan(all_gradients(params)).all()
    params = parameters()
    params[1].grad[0] = -np.inf
    assert nn.clip_grad_norm(params, 1.0) == math.inf
    assert np.isnan(params[1].grad[0]) and (params[0].grad == 0).all()
    params[1].grad[:] = np.nan, np.inf
    assert math.isnan(nn.clip_grad_norm(params, 1.0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("norm_type", [1, 2, np.inf])
def test_a_norm_that_is_not_finite_is_an_error_if_that_is_asked_for(value, norm_type):
    params = parameters()
    params[2].grad[...] = value
    before = all_gradients(params)
    with pytest.raises(RuntimeError, match="the norm of all gradients must be finite, got"):
        nn.clip_grad_norm(params, 1.0, norm_type, error_if_nonfinite=True)
    np.testing.assert_array_equal(all_gradients(params), before)


def read_only(p):
    p.grad.flags.writeable = False


def of_another_shape(p):
    p.grad = np.ones(7)


@pytest.mark.parametrize(
    ("arguments", "spoil", "message"),
    [
        ({"max_norm": -1}, None, "max_norm must be a number of at least 0 or infinity, got -1"),
        ({"norm_type": 0}, None, "norm_type must be a number above 0 or infinity, got 0"),
        ({"norm_type": np.nan}, None, "norm_type must be a number above 0 or infinity, got nan"),
        ({}, read_only, "every gradient must be writeable, got a read-only array"),
        ({}, of_another_shape, "the gradient of parameter 2 must have shape (), got (7,)"),
        ({"params": []}, None, "clip_grad_norm needs at least one parameter, got none"),
    ],
)
def test_what_cannot_be_clipped_is_refused_before_any_gradient_changes(arguments, spoil, message):
    params = parameters()
    before = params[0].grad.copy()
    if spoil:
        spoil(params[2])
    with pytest.raises(ValueError, match=re.escape(message)):
        nn.clip_grad_norm(**{"params": params, "max_norm": 0.1, **arguments})
    np.testing.assert_array_equal(params[0].grad, before)


def test_a_model_in_place_of_its_parameters_is_refused():
    with pytest.raises(TypeError, match=r"params must be parameters, got a Linear"):
        nn.clip_grad_norm(nn.Linear(2, 2, rng=0), 1.0)


@pytest.mark.parity
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm_type", [1, 2, 3.5, np.inf])
@pytest.mark.parametrize("spoiled", [None, np.nan, np.inf])
def test_clipping_equals_pytorch(torch, norm_type, dtype, spoiled):
    for max_norm in (0.5, 3.0, 100.0):
        params = parameters(dtype)
        if spoiled is not None:
            params[1].grad[0] = spoiled
        theirs = [torch.zeros(p.shape, dtype=torch.tensor(p.grad).dtype) for p in params]
        for t, p in zip(theirs, params, strict=True):
            t.grad = torch.tensor(p.grad)
        expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
        tolerance = 1e-6 if dtype == np.float32 else 1e-13
        norm = nn.clip_grad_norm(params, max_norm, norm_type)
        assert norm == pytest.approx(expected.item(), rel=tolerance, nan_ok=True)
        for t, p in zip(theirs, params, strict=True):
            np.testing.assert_allclose(p.grad, t.grad.numpy(), rtol=tolerance)
