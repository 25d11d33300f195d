"""Dropout2d sets whole channels to zero."""

import numpy as np
import pytest
from arrays import normal
from gradcheck import gradcheck

from bn import nn


def images(axis=1, dtype=np.float64):
    x = normal(8, 50, 3, 4, dtype=dtype)
    return x if axis == 1 else np.ascontiguousarray(x.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_channels_are_zero_or_divided_by_what_is_left(axis, dtype):
    layer, x = nn.Dropout2d(0.3, axis=axis, rng=0), images(axis, dtype)
    y = layer(x)
    pixels = (2, 3) if axis == 1 else (1, 2)
    dropped = (y == 0).all(pixels, keepdims=True)
    assert 80 < dropped.sum() < 160
    np.testing.assert_allclose(y, np.where(dropped, 0, x / dtype(0.7)), rtol=1e-6)
    np.testing.assert_array_equal(layer.backward(x), y)  # the same channels, the same factors
    assert y.dtype == dtype


def test_the_same_seed_gives_the_same_channels_whatever_the_order_in_memory():
    x = images()
    first, again, last = (nn.Dropout2d(rng=0)(a) for a in (x, x, nn.channels_last(x)))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, last)
    assert (nn.Dropout2d(rng=1)(x) != first).any()


def test_in_eval_mode_and_without_probability_nothing_changes():
    x = images()
    for layer in (nn.Dropout2d(0.5).eval(), nn.Dropout2d(0.0)):
        assert layer(x) is x and layer.backward(x) is x
    layer = nn.Dropout2d(0.5)
    assert layer(x, training=False) is x
    assert not nn.Dropout2d(1.0)(x).any()


@pytest.mark.parametrize("axis", [1, -1])
def test_it_has_the_right_gradient(axis):
    layer = nn.Dropout2d(0.4, axis=axis)

    def same_zeros():
        layer.rng = np.random.default_rng(5)

    gradcheck(layer, images(axis)[:2], before=same_zeros)
    nn.gradcheck(nn.Sequential(nn.Dropout2d(0.4, rng=0), nn.Tanh()), images()[:2, :3])


def test_a_channels_last_layer_says_so_in_its_repr():
    assert repr(nn.Dropout2d(0.2, axis=-1)) == "Dropout2d(p=0.2, inplace=False, axis=-1)"


@pytest.mark.parity
def test_it_scales_what_is_left_as_pytorch_does(torch):
    x = images()
    ours, theirs = nn.Dropout2d(0.3, rng=0), torch.nn.Dropout2d(0.3)
    y, ty = ours(x), theirs(torch.tensor(x)).numpy()
    both = (y != 0) & (ty != 0)
    assert both.any()
    np.testing.assert_allclose(y[both], ty[both], rtol=1e-12)
    assert repr(ours) == repr(theirs)
