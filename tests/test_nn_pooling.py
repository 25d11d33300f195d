"""The pools are compared with loops, central differences and PyTorch."""

import nn_reference as reference
import numpy as np
import pytest
from gradcheck import gradcheck

from bn import nn

# (kernel, stride, padding)
CASES = [
    (2, 2, 0),
    (2, None, 0),
    (3, 2, 1),
    (3, 1, 1),
    ((3, 2), (1, 3), (1, 0)),
    ((2, 4), (3, 1), (0, 2)),
    (1, 2, 0),
    (2, 3, 1),
]


def images(axis=1, size=(7, 9), n=2, channels=3):
    x = np.random.default_rng(1).standard_normal((n, channels, *size))
    return x if axis == 1 else reference.channels_last(x)


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def check_against_loops(layer, axis, reduce, value):
    kernel, stride, padding = pair(layer.kernel_size), pair(layer.stride), pair(layer.padding)
    expected = reference.pool2d(images(), kernel, stride, padding, reduce, value)
    y = layer(images(axis))
    assert layer.output_shape(images(axis).shape[1:]) == y.shape[1:]
    y = y if axis == 1 else reference.channels_first(y)
    np.testing.assert_allclose(y, expected, rtol=1e-12)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", CASES)
def test_max_pool_equals_the_loops(case, axis):
    check_against_loops(nn.MaxPool2d(*case, axis=axis), axis, np.max, -np.inf)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", CASES)
def test_average_pool_equals_the_loops(case, axis):
    check_against_loops(nn.AvgPool2d(*case, axis=axis), axis, np.mean, 0.0)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", CASES)
def test_average_pool_without_the_padding_equals_the_loops(case, axis):
    layer = nn.AvgPool2d(*case, count_include_pad=False, axis=axis)
    check_against_loops(layer, axis, np.nanmean, np.nan)


@pytest.mark.parametrize("axis", [1, -1])
def test_adaptive_pool_is_the_mean_of_the_image(axis):
    layer = nn.AdaptiveAvgPool2d(1, axis=axis)
    y = layer(images(axis))
    expected = images().mean(axis=(2, 3))
    assert y.shape == ((2, 3, 1, 1) if axis == 1 else (2, 1, 1, 3))
    np.testing.assert_allclose(y.reshape(2, 3), expected, rtol=1e-12)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", CASES)
def test_pools_have_the_right_gradients(case, axis, training):
    for layer in (
        nn.MaxPool2d(*case, axis=axis),
        nn.AvgPool2d(*case, axis=axis),
        nn.AvgPool2d(*case, count_include_pad=False, axis=axis),
    ):
        gradcheck(layer.train(training), images(axis, size=(5, 6)), entries=60)


@pytest.mark.parametrize("axis", [1, -1])
def test_adaptive_pool_has_the_right_gradient(axis):
    gradcheck(nn.AdaptiveAvgPool2d(1, axis=axis), images(axis, size=(3, 4)))


def test_the_first_of_equal_values_gets_the_gradient_of_a_max_pool():
    layer = nn.MaxPool2d(2)
    x = np.array([[[[1.0, 1.0], [1.0, 1.0]]], [[[0.0, 1.0], [1.0, 0.0]]]])
    layer(x)
    dx = layer.backward(np.full((2, 1, 1, 1), 5.0))
    np.testing.assert_array_equal(dx[:, 0], [[[5, 0], [0, 0]], [[0, 5], [0, 0]]])


@pytest.mark.parametrize("kernel", [(2, 2), (2, 1)], ids=["apart", "overlapping"])
def test_an_infinite_gradient_of_a_max_pool_goes_to_the_largest_value_alone(kernel):
    layer = nn.MaxPool2d(*kernel)
    layer(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]))
    dx = layer.backward(np.full((1, 1, 1, 1), np.inf))
    np.testing.assert_array_equal(dx, [[[[0, 0], [0, np.inf]]]])


def test_nan_is_the_largest_value_of_a_max_pool_and_the_last_nan_gets_the_gradient():
    layer = nn.MaxPool2d(2)
    x = np.array([[[[np.nan, np.nan, 1.0, 2.0], [9.0, 9.0, 3.0, 4.0]]]])
    np.testing.assert_array_equal(layer(x), [[[[np.nan, 4.0]]]])
    dx = layer.backward(np.ones((1, 1, 1, 2)))
    np.testing.assert_array_equal(dx, [[[[0, 1, 0, 0], [0, 0, 0, 1]]]])


def test_the_padding_of_a_max_pool_wins_over_no_value_not_even_minus_infinity():
    layer = nn.MaxPool2d(2, stride=2, padding=1)
    x = np.full((1, 1, 2, 2), -np.inf)
    assert (layer(x) == -np.inf).all()
    np.testing.assert_array_equal(layer.backward(np.ones((1, 1, 2, 2))), np.ones((1, 1, 2, 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pools_keep_the_dtype(dtype):
    for layer in (
        nn.MaxPool2d(2),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AdaptiveAvgPool2d(1),
    ):
        y = layer(images().astype(dtype))
        assert y.dtype == dtype
        assert layer.backward(y).dtype == dtype


def test_pools_of_an_empty_batch_are_empty():
    for layer in (nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)):
        y = layer(images()[:0])
        assert len(y) == 0
        assert layer.backward(y).shape == (0, 3, 7, 9)


@pytest.mark.parametrize("axis", [1, -1])
def test_pools_take_strided_images(axis):
    x = images(axis)
    for layer in (nn.MaxPool2d(2, axis=axis), nn.AvgPool2d(2, axis=axis)):
        y = layer(x)
        dx = layer.backward(y)
        np.testing.assert_array_equal(layer(x[::-1])[::-1], y)
        np.testing.assert_array_equal(layer.backward(y[::-1])[::-1], dx)


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["MaxPool2d", "AvgPool2d"])
def test_pools_equal_pytorch(torch, kind, case):
    x = images().round(0)  # many values are equal
    x[0, 0, 2, 3] = x[0, 0, 3, 3] = np.nan
    ours, theirs = getattr(nn, kind)(*case), getattr(torch.nn, kind)(*case)
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    dy = np.random.default_rng(2).standard_normal(ty.shape)
    ty.backward(torch.tensor(dy))
    np.testing.assert_allclose(ours(x), ty.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.backward(dy), tx.grad.numpy(), rtol=1e-12)
    assert repr(ours) == repr(theirs)


@pytest.mark.parity
def test_average_pools_without_the_padding_equal_pytorch(torch):
    for case in CASES:
        ours = nn.AvgPool2d(*case, count_include_pad=False)
        theirs = torch.nn.AvgPool2d(*case, count_include_pad=False)
        expected = theirs(torch.tensor(images())).numpy()
        np.testing.assert_allclose(ours(images()), expected, rtol=1e-12)
