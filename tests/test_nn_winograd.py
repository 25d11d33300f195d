"""Winograd's convolution agrees with the direct one to a bound, and can be switched off."""

import itertools

import numpy as np
import pytest
from arrays import normal
from layouts import in_order

import bn
from bn import nn
from bn._core import core

pytestmark = pytest.mark.skipif(core.selected_isa() == "baseline", reason="matrix products")

LARGEST_ERROR = 2e-6  # of the largest value


def passes(conv, x, dy, winograd):
    """Return y, dx and the gradients of weight and bias."""
    conv.zero_grad()
    with nn.winograd(winograd):
        y = conv(x)
        dx = conv.backward(dy[: len(y), :, : y.shape[2], : y.shape[3]])
    return y, dx, conv.weight.grad, conv.bias.grad


def error(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


SIZES = [(2, 2), (3, 2), (4, 5), (7, 7), (8, 8), (9, 14), (33, 31)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize(("channels", "out"), [(16, 16), (17, 40), (70, 33)])
def test_outputs_and_gradients_agree_with_the_direct_convolution(size, padding, channels, out):
    if min(size) + 2 * padding < 3:
        pytest.skip("smaller than the kernel")
    conv = nn.Conv2d(channels, out, 3, padding=padding, rng=0)
    x, dy = (normal(3, c, *s, dtype=np.float32) for c, s in ((channels, size), (out, (40, 40))))
    dy = nn.channels_last(dy)
    exact = nn.Conv2d(channels, out, 3, padding=padding, dtype=np.float64)
    exact.weight[...], exact.bias[...] = conv.weight, conv.bias
    right = passes(exact, x.astype(np.float64), dy.astype(np.float64), winograd=True)
    for ours, expected in zip(passes(conv, x, dy, winograd=True), right, strict=True):
        assert error(ours, expected) < LARGEST_ERROR


def test_it_is_used_and_can_be_switched_off():
    conv, x = nn.Conv2d(32, 32, 3, padding=1, rng=0), normal(2, 32, 9, 9, dtype=np.float32)
    dy = normal(2, 32, 9, 9, dtype=np.float32, seed=1)
    for on, off in zip(passes(conv, x, dy, True)[:3], passes(conv, x, dy, False)[:3], strict=True):
        assert not np.array_equal(on, off)
        assert error(on, off) < LARGEST_ERROR
    with pytest.raises(TypeError, match="mode must be True or False, got 1"):
        nn.winograd(1)


OTHERS = [
    {"kernel_size": 5},
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": 3, "dilation": 2},
    {"kernel_size": 3, "groups": 32},
    {"kernel_size": 3, "dtype": np.float64},
]


@pytest.mark.parametrize("options", OTHERS)
def test_other_convolutions_do_not_use_it(options):
    conv = nn.Conv2d(32, 32, padding=2, rng=0, **options)
    x = normal(2, 32, 9, 9, dtype=conv.weight.dtype)
    dy = normal(2, 32, 16, 16, dtype=x.dtype, seed=1)
    for on, off in zip(passes(conv, x, dy, True), passes(conv, x, dy, False), strict=True):
        np.testing.assert_array_equal(on, off)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads_gives_the_same_bits(threads):
    conv = nn.Conv2d(20, 36, 3, padding=1, rng=0)
    x, dy = normal(5, 20, 37, 21, dtype=np.float32), normal(5, 36, 37, 21, dtype=np.float32)
    expected = passes(conv, x, dy, True)
    with bn.threads(threads):
        for ours, theirs in zip(passes(conv, x, dy, True), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_images_in_any_order_in_memory_give_the_same_bits(order):
    conv = nn.Conv2d(16, 16, 3, padding=1, rng=0)
    x = normal(3, 16, 6, 7, dtype=np.float32)
    np.testing.assert_array_equal(conv(in_order(x, order)), conv(x))


def test_an_image_does_not_depend_on_the_others_of_its_batch():
    conv, x = nn.Conv2d(16, 24, 3, padding=1, rng=0), normal(40, 16, 8, 8, dtype=np.float32)
    whole = conv(x)
    for i in (0, 7, 39):
        np.testing.assert_array_equal(conv(x[i : i + 1])[0], whole[i])


def test_groups_of_several_channels_use_it_each():
    conv, x = nn.Conv2d(64, 64, 3, padding=1, groups=2, rng=0), normal(2, 64, 8, 8, dtype="f4")
    y = conv(x)
    with nn.winograd(False):
        assert error(y, conv(x)) < LARGEST_ERROR
