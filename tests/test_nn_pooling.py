"""The pools are compared with loops, central differences and PyTorch."""

import itertools

import layouts
import nn_reference as reference
import numpy as np
import pytest
from gradcheck import gradcheck

import bncore
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


# Some of the last windows reach beyond the image, and some beyond its padding.
CEIL_CASES = [*CASES, (3, 2, 0), (3, 4, 0), (4, 3, 1), (5, 4, 2), ((8, 3), (3, 2), (4, 1))]


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", CEIL_CASES)
def test_pools_in_ceil_mode_equal_the_loops(case, axis):
    x = images(axis)
    for layer, reduce, value in (
        (nn.MaxPool2d(*case, ceil_mode=True, axis=axis), np.nanmax, np.nan),
        (nn.AvgPool2d(*case, ceil_mode=True, axis=axis), np.nanmean, 0.0),
        (nn.AvgPool2d(*case, True, False, axis=axis), np.nanmean, np.nan),
    ):
        kernel, stride, padding = pair(layer.kernel_size), pair(layer.stride), pair(layer.padding)
        expected = reference.ceil_pool2d(images(), kernel, stride, padding, reduce, value)
        y = layer(x)
        assert layer.output_shape(x.shape[1:]) == y.shape[1:]
        y = y if axis == 1 else reference.channels_first(y)
        np.testing.assert_allclose(y, expected, rtol=1e-12)
        gradcheck(layer, x, entries=30)


def test_ceil_mode_takes_images_that_are_smaller_than_the_window():
    x = images(size=(2, 7))
    np.testing.assert_array_equal(
        nn.MaxPool2d(3, 2, ceil_mode=True)(x)[:, :, 0, 0], x[:, :, :, :3].max((2, 3))
    )
    with pytest.raises(ValueError, match=r"MaxPool2d takes images of at least \(2, 2\) pixels"):
        nn.MaxPool2d(3, 2, ceil_mode=True)(x[:, :, :1])
    with pytest.raises(TypeError, match="ceil_mode must be True or False, got 1"):
        nn.MaxPool2d(3, ceil_mode=1)


def test_a_pool_in_ceil_mode_is_computed_behind_a_convolution_by_itself():
    conv = nn.Conv2d(3, 4, 3, dtype=np.float64, rng=0)
    model = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True))
    y = model(images())
    assert y.shape == (2, 4, 3, 4)
    expected = nn.MaxPool2d(2, ceil_mode=True)(np.maximum(conv(images()), 0))
    np.testing.assert_allclose(y, expected, rtol=1e-12)


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
        assert layer.backward(layer(np.zeros((2, 0, 7, 9)))).shape == (2, 0, 7, 9)


@pytest.mark.parametrize("axis", [1, -1])
def test_pools_take_strided_images(axis):
    x = images(axis)
    for layer in (nn.MaxPool2d(2, axis=axis), nn.AvgPool2d(2, axis=axis)):
        y = layer(x)
        dx = layer.backward(y)
        np.testing.assert_array_equal(layer(x[::-1])[::-1], y)
        np.testing.assert_array_equal(layer.backward(y[::-1])[::-1], dx)


# ---- the kernels ----


def normal(shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def window_slices(layer, size, row, column):
    """Return the part of an image that is in the window of an output."""
    parts, kernel = [], pair(layer.kernel_size)
    for k, output in enumerate((row, column)):
        start = output * pair(layer.stride)[k] - pair(layer.padding)[k]
        parts.append(slice(max(0, start), min(size[k], start + kernel[k])))
    return (..., *parts)


def winners(patch):
    """Return which pixel of each window (N, C, rows, columns) is its largest, or its last NaN."""
    flat = patch.reshape(*patch.shape[:2], -1)
    nan = np.isnan(flat)
    last = flat.shape[2] - 1 - nan[..., ::-1].argmax(axis=2)
    return np.where(nan.any(axis=2), last, np.where(nan, -np.inf, flat).argmax(axis=2))


def expected_of(layer, x, dy):
    """Return y and dx in float64, one window after the other; x and dy are (N, C, H, W)."""
    x, size = x.astype(np.float64), x.shape[2:]
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for row, column in itertools.product(*map(range, dy.shape[2:])):
        part = window_slices(layer, size, row, column)
        patch, given = x[part], dy[:, :, row, column]
        if isinstance(layer, nn.MaxPool2d):
            shape, index = patch.shape, winners(patch)[..., None]
            flat = patch.reshape(*shape[:2], -1)
            y[:, :, row, column] = np.take_along_axis(flat, index, 2)[..., 0]
            each = np.zeros(flat.shape)
            np.put_along_axis(each, index, given[..., None], 2)
            dx[part] += each.reshape(shape)
        else:
            whole = pair(layer.kernel_size)[0] * pair(layer.kernel_size)[1]
            count = whole if layer.count_include_pad else patch.shape[2] * patch.shape[3]
            y[:, :, row, column] = patch.sum(axis=(2, 3)) / count
            dx[part] += given[:, :, None, None] / count
    return y, dx


def layers(kernel, stride, padding):
    yield nn.MaxPool2d(kernel, stride, padding)
    for count_include_pad in (True, False):
        yield nn.AvgPool2d(kernel, stride, padding, count_include_pad=count_include_pad)


def results(layer, x, seed=3):
    """Return y, and dx for a random dy."""
    y = layer(x)
    return y, layer.backward(normal(y.shape, y.dtype, seed))


def check(layer, x):
    """Check y and dx, and that they are the same bits where channels are last in memory."""
    first = results(layer, x)
    dy = normal(first[0].shape, x.dtype, 3)
    for got, exact in zip(first, expected_of(layer, x, dy), strict=True):
        assert got.dtype == x.dtype
        exact_maximum = isinstance(layer, nn.MaxPool2d) and got is first[0]
        tol = 0 if exact_maximum else 1e-12 if x.dtype == np.float64 else 1e-5
        np.testing.assert_allclose(got, exact, rtol=tol, atol=tol)
    images = layouts.channels_last_memory(x)
    others = results(layer, images)
    assert others[1].strides == images.strides
    for got, same in zip(others, first, strict=True):
        np.testing.assert_array_equal(got, same)


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_any_window(isa, kernel, stride, padding):
    if 2 * padding <= kernel:
        for layer in layers(kernel, stride, padding):
            check(layer, normal((2, 3, 9, 37), np.float32).round(1))
            check(layer, normal((1, 17, 5, 8)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 16, 17, 64, 70])
def test_any_number_of_channels(isa, channels, dtype):
    for window in [(2, 2, 0), (3, 2, 1), ((3, 2), (1, 3), (1, 0))]:
        for layer in layers(*window):
            check(layer, normal((2, channels, 6, 7), dtype))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (3, 150), (40, 2), (1, 67)])
@pytest.mark.parametrize(
    "window", [(1, 1, 0), ((1, 2), 1, (0, 1)), (3, 1, 1), (2, 3, 1), (4, 2, 2)]
)
def test_images_of_any_size(isa, window, size):
    for layer in layers(*window):
        kernel, padding = pair(layer.kernel_size), pair(layer.padding)
        if all(n + 2 * p >= k for n, p, k in zip(size, padding, kernel, strict=True)):
            check(layer, normal((2, 9, *size)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "window",
    [((17, 16), None, 0), ((300, 3), 2, (150, 1)), ((3, 300), (1, 7), (1, 150)), (18, 1, 9)],
)
def test_windows_of_many_pixels(isa, window, dtype):
    for layer in layers(*window):
        check(layer, normal((2, 3, 36, 35), dtype))
        check(layer, normal((1, 10, 20, 19), dtype).round(0))


@pytest.mark.parametrize("memory", layouts.MEMORY)
def test_the_order_in_memory_does_not_change_a_bit(memory):
    for window in [(2, 2, 0), (3, 2, 1), (3, 1, 1), (17, 3, 8)]:
        for layer in layers(*window):
            x = normal((3, 10, 9, 8), np.float32)
            expected = results(layer, x)
            for got, same in zip(results(layer, memory(x)), expected, strict=True):
                np.testing.assert_array_equal(got, same)


def test_outputs_and_gradients_have_the_order_in_memory_of_x():
    for order in itertools.permutations(range(4)):
        x = normal((2, 3, 4, 6)).transpose(order).copy().transpose(np.argsort(order))
        for layer in (nn.MaxPool2d(2), nn.AvgPool2d(2)):
            for array in results(layer, x):
                assert array.transpose(order).flags.c_contiguous
        assert results(nn.AdaptiveAvgPool2d(1), x)[1].transpose(order).flags.c_contiguous


@pytest.mark.parametrize("axis", [1, -1])
def test_dy_may_lie_in_any_order_in_memory_and_be_read_only_or_misaligned(axis):
    x = normal((2, 9, 6, 7) if axis == 1 else (2, 6, 7, 9))
    for layer in (
        nn.MaxPool2d(3, 2, 1, axis=axis),
        nn.MaxPool2d((2, 7), axis=axis),
        nn.AvgPool2d(3, 2, 1, axis=axis),
        nn.AdaptiveAvgPool2d(1, axis=axis),
    ):
        y, expected = results(layer, x)
        dy = normal(y.shape, seed=3)
        for memory in layouts.MEMORY:
            given = memory(dy)
            given.flags.writeable = False
            layer(x)
            np.testing.assert_array_equal(layer.backward(given), expected)
            np.testing.assert_array_equal(given, dy)
        unchanged = layouts.misaligned(x)
        unchanged.flags.writeable = False
        np.testing.assert_array_equal(layer(unchanged), y)
        np.testing.assert_array_equal(unchanged, x)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(5, 20, 21, 19), (1, 3, 105, 106), (1, 130, 17, 17), (1, 1, 190, 180), (1, 9, 61, 67)]
)
def test_threads_and_instruction_sets_do_not_change_a_bit(shape, dtype, channels_last):
    x = normal(shape, dtype).round(2)
    x = layouts.channels_last_memory(x) if channels_last else x
    pools = [nn.AdaptiveAvgPool2d(1)]
    for window in [(2, 2, 0), (3, 2, 1), (5, 1, 2), (17, 9, 8)]:
        pools += layers(*window)
    before = bncore.selected_isa()
    try:
        bncore.set_max_threads(1)
        expected = [a.tobytes() for layer in pools for a in results(layer, x)]
        for name, threads in itertools.product(bncore.available_isas(), (1, 2, 3, 7)):
            bncore.select_isa(name)
            bncore.set_max_threads(threads)
            assert [a.tobytes() for layer in pools for a in results(layer, x)] == expected
    finally:
        bncore.select_isa(before)


@pytest.mark.parametrize("channels", [1, 20])
@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (17, 4, 8)])
def test_nan_infinities_and_ties_in_windows_of_any_kind(isa, window, channels):
    rng = np.random.default_rng(0)
    values = np.array([-np.inf, -1, -0.0, 0.0, 1, np.inf, np.nan])
    for probabilities in ([0.1] * 6 + [0.4], [0.9, 0, 0, 0, 0, 0, 0.1], [1, 0, 0, 0, 0, 0, 0]):
        x = rng.choice(values, (2, channels, 20, 22), p=probabilities)
        check(nn.MaxPool2d(*window), x)


def test_the_mean_of_a_large_image_has_a_small_error(isa):
    for size in [(600, 601), (100000, 2), (3, 100003)]:
        x = normal((1, 8, *size), np.float32) + np.float32(100)
        exact = x.astype(np.float64).mean(axis=(2, 3), keepdims=True)
        for images in (x, layouts.channels_last_memory(x)):
            np.testing.assert_allclose(nn.AdaptiveAvgPool2d(1)(images), exact, rtol=5e-7)


def test_an_adaptive_pool_does_not_depend_on_the_order_in_memory(isa):
    for shape in [(2, 9, 7, 7), (1, 70, 33, 40), (2, 3, 1, 1), (1, 10, 600, 3)]:
        x = normal(shape, np.float32)
        y, dx = results(nn.AdaptiveAvgPool2d(1), x)
        others = results(nn.AdaptiveAvgPool2d(1), layouts.channels_last_memory(x))
        np.testing.assert_array_equal(others[0], y)
        np.testing.assert_array_equal(others[1], dx)
        np.testing.assert_allclose(y[:, :, 0, 0], x.mean(axis=(2, 3), dtype=float), atol=1e-6)


def test_between_forward_and_backward_a_max_pool_keeps_a_byte_per_output():
    x = normal((2, 3, 40, 40))
    for kernel, itemsize in [(16, 1), (17, 4)]:
        layer = nn.MaxPool2d(kernel)
        y = layer(x)
        kept = [value for value in layer._kept[2] if isinstance(value, np.ndarray)]
        assert [array.nbytes for array in kept] == [y.size * itemsize]
        assert not np.shares_memory(kept[0], x)


def test_large_kernels_of_a_max_pool_take_images_of_less_than_2_31_pixels():
    x = np.broadcast_to(np.float32(0), (1, 1, 2**16, 2**15))
    with pytest.raises(ValueError, match=r"takes images of less than 2\*\*31 pixels, got 65536"):
        nn.MaxPool2d(17, 2**20)(x)


def test_a_stride_beyond_the_image_gives_one_window():
    for layer in layers(2, 2**62, 0):
        check(layer, normal((2, 3, 4, 5)))


def test_images_without_pixels_have_empty_gradients():
    for layer in layers(2, 1, 1):
        y = layer(np.zeros((1, 2, 0, 4)))
        assert layer.backward(y).shape == (1, 2, 0, 4)


@pytest.mark.parity
@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize("case", CEIL_CASES)
@pytest.mark.parametrize("kind", ["MaxPool2d", "AvgPool2d"])
def test_pools_equal_pytorch(torch, kind, case, ceil_mode):
    x = images().round(0)  # many values are equal
    x[0, 0, 2, 3] = x[0, 0, 3, 3] = np.nan
    ours, theirs = (getattr(layers, kind)(*case, ceil_mode=ceil_mode) for layers in (nn, torch.nn))
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    dy = np.random.default_rng(2).standard_normal(ty.shape)
    ty.backward(torch.tensor(dy))
    np.testing.assert_allclose(ours(x), ty.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.backward(dy), tx.grad.numpy(), rtol=1e-12)
    assert repr(ours) == repr(theirs)


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("channels", [3, 20])
def test_max_pools_of_many_nan_equal_pytorch_with_channels_last(torch, channels, case):
    rng = np.random.default_rng(3)
    x = rng.choice([-np.inf, 0.0, 1.0, np.inf, np.nan], (2, channels, 9, 12)).astype(np.float32)
    x = layouts.channels_last_memory(x)
    ours, theirs = nn.MaxPool2d(*case), torch.nn.MaxPool2d(*case)
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    dy = rng.integers(-9, 9, ty.shape).astype(np.float32)  # sums are exact in any order
    ty.backward(torch.tensor(dy))
    np.testing.assert_array_equal(ours(x), ty.detach().numpy())
    np.testing.assert_array_equal(ours.backward(dy), tx.grad.numpy())


@pytest.mark.parity
def test_average_pools_without_the_padding_equal_pytorch(torch):
    for case, ceil_mode in itertools.product(CEIL_CASES, (True, False)):
        ours = nn.AvgPool2d(*case, ceil_mode, count_include_pad=False)
        theirs = torch.nn.AvgPool2d(*case, ceil_mode, count_include_pad=False)
        expected = theirs(torch.tensor(images())).numpy()
        np.testing.assert_allclose(ours(images()), expected, rtol=1e-12)
