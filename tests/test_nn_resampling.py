"""Upsample, ZeroPad2d and AdaptiveAvgPool2d are compared with matrices, and with PyTorch."""

import itertools

import layouts
import nn_reference as reference
import numpy as np
import pytest
from arrays import normal
from gradcheck import gradcheck

import bncore
from bn import nn

SIZE = (7, 9)  # of the images


def bilinear(*size, align_corners=None, **options):
    return nn.Upsample(size, mode="bilinear", align_corners=align_corners, **options)


def linear(*size, align_corners=False):
    return [reference.linear_matrix(n, m, align_corners) for n, m in zip(SIZE, size, strict=True)]


def nearest(*size):
    return [reference.nearest_matrix(n, m) for n, m in zip(SIZE, size, strict=True)]


def means(*size):
    return [reference.means_matrix(n, m) for n, m in zip(SIZE, size, strict=True)]


def padding(left, right, top, bottom):
    rows = reference.padding_matrix(SIZE[0], top, bottom)
    return rows, reference.padding_matrix(SIZE[1], left, right)


# For each what makes it, and its matrices for the rows and the columns.
CASES = {
    "nearest, doubled": (lambda **o: nn.Upsample(scale_factor=2, **o), nearest(14, 18)),
    "nearest, tripled": (lambda **o: nn.Upsample(scale_factor=3.0, **o), nearest(21, 27)),
    "nearest, smaller": (lambda **o: nn.Upsample((3, 4), **o), nearest(3, 4)),
    "nearest, both": (lambda **o: nn.Upsample((5, 20), **o), nearest(5, 20)),
    "nearest, of one size": (lambda **o: nn.Upsample(8, **o), nearest(8, 8)),
    "bilinear, doubled": (
        lambda **o: nn.Upsample(scale_factor=(2, 2), mode="bilinear", **o),
        linear(14, 18),
    ),
    "bilinear, smaller": (lambda **o: bilinear(3, 4, **o), linear(3, 4)),
    "bilinear, both": (lambda **o: bilinear(2, 31, **o), linear(2, 31)),
    "bilinear, the same": (lambda **o: bilinear(7, 9, **o), linear(7, 9)),
    "bilinear, one pixel": (lambda **o: bilinear(1, 1, **o), linear(1, 1)),
    "bilinear, corners": (
        lambda **o: bilinear(14, 17, align_corners=True, **o),
        linear(14, 17, align_corners=True),
    ),
    "bilinear, corners, one row": (
        lambda **o: bilinear(1, 5, align_corners=True, **o),
        linear(1, 5, align_corners=True),
    ),
    "zeros": (lambda **o: nn.ZeroPad2d(2, **o), padding(2, 2, 2, 2)),
    "zeros on some sides": (lambda **o: nn.ZeroPad2d((0, 3, 1, 0), **o), padding(0, 3, 1, 0)),
    "no zeros": (lambda **o: nn.ZeroPad2d(0, **o), padding(0, 0, 0, 0)),
    "pixels less": (lambda **o: nn.ZeroPad2d((-1, 2, -3, -2), **o), padding(-1, 2, -3, -2)),
    "no row": (lambda **o: nn.ZeroPad2d((0, 0, -3, -4), **o), padding(0, 0, -3, -4)),
    "means side by side": (lambda **o: nn.AdaptiveAvgPool2d((1, 3), **o), means(1, 3)),
    "means that overlap": (lambda **o: nn.AdaptiveAvgPool2d((3, 4), **o), means(3, 4)),
    "means of the rows": (lambda **o: nn.AdaptiveAvgPool2d((2, None), **o), means(2, 9)),
    "means, larger": (lambda **o: nn.AdaptiveAvgPool2d(12, **o), means(12, 12)),
}
with_cases = pytest.mark.parametrize("name", CASES)


def images(dtype=np.float64, axis=1, channels=3):
    x = normal(2, channels, *SIZE, dtype=dtype)
    return x if axis == 1 else reference.channels_last(x)


def passes(layer, x, seed=1):
    y = layer(x)
    return y, layer.backward(normal(*y.shape, seed=seed, dtype=x.dtype))


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("channels", [1, 3, 20])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-14)])
@with_cases
def test_pixels_and_gradients_are_products_with_the_matrices(
    isa, name, axis, channels, dtype, tolerance
):
    make, (rows, columns) = CASES[name]
    layer, x = make(axis=axis), images(dtype, axis, channels)
    y, dx = passes(layer, x)
    dy = normal(*y.shape, seed=1, dtype=dtype)
    assert layer.output_shape(x.shape[1:]) == y.shape[1:]
    assert (y.dtype, dx.dtype, dx.shape) == (dtype, dtype, x.shape)
    if axis == -1:
        x, y, dx, dy = (a.transpose(0, 3, 1, 2) for a in (x, y, dx, dy))
    close = {"rtol": 0, "atol": 10 * tolerance}
    np.testing.assert_allclose(y, reference.resample(x, rows, columns), **close)
    np.testing.assert_allclose(dx, reference.resample(dy, rows.T, columns.T), **close)


@with_cases
def test_layers_have_the_right_gradients(name):
    gradcheck(CASES[name][0](), images(channels=2), entries=40)


@pytest.mark.parametrize("memory", layouts.MEMORY)
@with_cases
def test_the_order_in_memory_does_not_change_a_bit(name, memory):
    layer = CASES[name][0]()
    x = images(np.float32, channels=5)
    expected = passes(layer, x)
    dy = memory(normal(*expected[0].shape, seed=1, dtype=np.float32))
    y = layer(memory(x))
    for found, same in zip((y, layer.backward(dy)), expected, strict=True):
        np.testing.assert_array_equal(found, same)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_outputs_and_gradients_have_the_order_in_memory_of_x(order):
    x = layouts.in_order(images(), order)
    for name in ("bilinear, doubled", "zeros", "means that overlap"):
        for array in passes(CASES[name][0](), x):
            assert array.transpose(order).flags.c_contiguous


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("shape", [(5, 20, 21, 19), (1, 3, 105, 106), (40, 1, 40, 30)])
def test_threads_and_instruction_sets_do_not_change_a_bit(shape, channels_last):
    x = normal(*shape, dtype=np.float32)
    x = layouts.channels_last_memory(x) if channels_last else x
    layers = [bilinear(50, 41), nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(7)]
    layers.append(nn.ZeroPad2d(1))
    before = bncore.selected_isa()
    try:
        bncore.set_max_threads(1)
        expected = [a.tobytes() for layer in layers for a in passes(layer, x)]
        for name, threads in itertools.product(bncore.available_isas(), (1, 2, 7)):
            bncore.select_isa(name)
            bncore.set_max_threads(threads)
            assert [a.tobytes() for layer in layers for a in passes(layer, x)] == expected
    finally:
        bncore.select_isa(before)


@with_cases
def test_an_empty_batch_and_images_without_channels_are_empty(name):
    layer = CASES[name][0]()
    for x in (images()[:0], images()[:, :0]):
        y, dx = passes(layer, x)
        assert y.shape == (len(x), *layer.output_shape(x.shape[1:])) and dx.shape == x.shape


def test_between_forward_and_backward_no_image_is_kept():
    for name in CASES:
        layer = CASES[name][0]()
        layer(images())
        assert not [value for value in layer._kept[2] if isinstance(value, np.ndarray)]


def test_a_pixel_without_weight_is_not_looked_at():
    x = np.array([1.0, np.inf, 3.0]).reshape(1, 1, 1, 3)
    y = bilinear(1, 5, align_corners=True)(x)
    np.testing.assert_array_equal(y, [[[[1, np.inf, np.inf, np.inf, 3]]]])
    np.testing.assert_array_equal(nn.ZeroPad2d((-2, 1, 0, 0))(x), [[[[3, 0]]]])


def test_minus_zero_stays_what_it_is():
    x = np.full((1, 2, 2, 2), -0.0, np.float32)
    for layer in (nn.Upsample(scale_factor=2), bilinear(3, 3), nn.ZeroPad2d(0)):
        assert np.signbit(layer(x)).all()


def test_zeros_may_surround_images_without_pixels():
    layer = nn.ZeroPad2d(1)
    y, dx = passes(layer, np.ones((1, 2, 0, 3)))
    assert y.shape == (1, 2, 2, 5) and not y.any() and dx.shape == (1, 2, 0, 3)


def test_a_factor_rounds_the_size_down():
    layer = nn.Upsample(scale_factor=(1.5, 0.4))
    assert layer.output_shape((3, 5, 9)) == (3, 7, 3)
    assert nn.Upsample(scale_factor=0.3).output_shape((3, 4, 7)) == (3, 1, 2)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (nn.Upsample, ValueError, "either size or scale_factor must be given, got"),
        (lambda: nn.Upsample(2, 2), ValueError, "either size or scale_factor must be given, got"),
        (lambda: nn.Upsample(0), ValueError, "size must be an integer >= 1 or a pair of them"),
        (
            lambda: nn.Upsample(scale_factor=-1),
            ValueError,
            "scale_factor must be a positive number or a pair of them, got -1",
        ),
        (
            lambda: nn.Upsample(2, mode="cubic"),
            ValueError,
            "mode must be 'nearest' or 'bilinear', got 'cubic'",
        ),
        (
            lambda: nn.Upsample(2, align_corners=True),
            ValueError,
            "align_corners must be None with mode='nearest', got True",
        ),
        (
            lambda: nn.Upsample(2, mode="bilinear", align_corners=1),
            TypeError,
            "align_corners must be True, False or None, got 1",
        ),
        (
            lambda: nn.ZeroPad2d((1, 2)),
            ValueError,
            r"padding must be an integer or four, \(left, right, top, bottom\), got \(1, 2\)",
        ),
        (
            lambda: nn.AdaptiveAvgPool2d((2, 0)),
            ValueError,
            r"output_size must be an integer >= 1, None or a pair of them, got \(2, 0\)",
        ),
        (
            lambda: nn.Upsample(scale_factor=0.5)(np.ones((1, 1, 1, 8))),
            ValueError,
            r"Upsample takes images of at least \(2, 2\) pixels, got \(1, 8\)",
        ),
        (
            lambda: nn.ZeroPad2d(-2)(np.ones((1, 1, 3, 8))),
            ValueError,
            r"ZeroPad2d takes images of at least \(4, 4\) pixels, got \(3, 8\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---- PyTorch ----

PAIRS = [
    *(
        ("Upsample", (size, factor, mode, corners))
        for (size, factor), (mode, corners) in itertools.product(
            [
                ((3, 4), None), (14, None), ((1, 20), None), (None, 2), (None, (1.7, 0.6)),
                (None, 3.0), (None, 1.05), (None, 0.5),
            ],
            [("nearest", None), ("bilinear", None), ("bilinear", True), ("bilinear", False)],
        )
    ),
    *(("ZeroPad2d", (sides,)) for sides in (0, 1, (1, 2, 3, 4), (-1, 2, -3, 0))),
    *(("AdaptiveAvgPool2d", (size,)) for size in (1, 2, 7, (3, 4), (None, 5), (9, 11))),
]  # fmt: skip


@pytest.mark.parity
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-10)])
@pytest.mark.parametrize(("kind", "options"), PAIRS)
def test_layers_equal_pytorch(torch, kind, options, dtype, tolerance):
    ours, theirs = getattr(nn, kind)(*options), getattr(torch.nn, kind)(*options)
    x = images(dtype)
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    y, dx = passes(ours, x)
    ty.backward(torch.tensor(normal(*y.shape, seed=1, dtype=dtype)))
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(y, ty.detach().numpy(), **close)
    np.testing.assert_allclose(dx, tx.grad.numpy(), **close)
    assert repr(ours) == repr(theirs)


@pytest.mark.parity
def test_repeated_pixels_are_those_of_pytorch_for_any_size(torch):
    for n in (1, 2, 3, 5, 10, 31, 100):
        x = np.arange(n, dtype=np.float32).reshape(1, 1, 1, n)
        for m in range(1, 130):
            expected = torch.nn.Upsample((1, m))(torch.tensor(x)).numpy()
            np.testing.assert_array_equal(nn.Upsample((1, m))(x), expected)
