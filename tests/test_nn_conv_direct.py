"""The compiled convolution is compared with loops, at every instruction set."""

import itertools
import threading

import nn_reference as reference
import numpy as np
import pytest

import bncore
from bn import nn
from bn.nn import conv_direct
from bn.nn.window import Window

DTYPES = [np.float32, np.float64]


@pytest.fixture(autouse=True)
def no_winograd():
    """Winograd's convolution has bounds of its own: test_nn_winograd.py."""
    with nn.winograd(False):
        yield


def make(shape, dtype, axis=1, seed=0):
    """Return random images, (N, C, H, W), in the memory order of `axis`."""
    images = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return images if axis == 1 else reference.channels_last(images).transpose(0, 3, 1, 2)


def unfilled(shape, dtype, axis=1):
    """Return images of NaN: what a strategy does not write is found."""
    return make(shape, dtype, axis) * dtype(np.nan)


def out_size(size, window):
    return window.output_size("Conv2d", size)


class Case:
    """x, weight, bias and dy of one convolution; `results` is y, dx, dweight and dbias."""

    def __init__(self, shape, outputs, window, dtype=np.float32, axis=1, groups=1):
        n, channels, *size = shape
        self.window, self.axis, self.groups = window, axis, groups
        self.x = make(shape, dtype, axis, 1)
        self.weight = make((outputs, channels // groups, *window.kernel), dtype, seed=2)
        self.bias = make((outputs,), dtype, seed=3)
        self.dy = make((n, outputs, *out_size(size, window)), dtype, axis, 4)

    def results(self):
        y, dx = (unfilled(a.shape, a.dtype.type, self.axis) for a in (self.dy, self.x))
        conv_direct.convolve(self.x, self.weight, self.bias, self.window, y)
        dbias = np.full(len(self.weight), np.nan, self.x.dtype)
        dweight = conv_direct.convolve_backward(
            self.x, self.weight, self.window, self.dy, dx, dbias
        )
        return y, dx, dweight, dbias

    def expected(self, power=1):
        """The results in float64; with power 2, the sums of the squares of all terms."""
        x, weight, bias, dy = (
            a.astype(np.float64) ** power for a in (self.x, self.weight, self.bias, self.dy)
        )
        w = self.window
        steps = (w.stride, w.before, w.after, w.dilation)
        y = reference.conv2d(x, weight, bias, *steps, self.groups)
        return y, *reference.conv2d_gradients(x, weight, dy, *steps, self.groups)

    def check(self):
        """Of K terms with root mean square r, |error| ≤ c √K r."""
        c = 2e-6 if self.x.dtype == np.float32 else 4e-15
        for got, exact, squares in zip(
            self.results(), self.expected(), self.expected(power=2), strict=True
        ):
            assert got.dtype == self.x.dtype
            assert (np.abs(got - exact) <= c * np.sqrt(squares)).all()


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 65, 70])
def test_any_number_of_channels(isa, channels, dtype, axis):
    window = Window((3, 3), before=(1, 1), after=(1, 1))
    Case((2, channels, 5, 6), 3, window, dtype, axis).check()
    Case((2, 3, 5, 6), channels, window, dtype, axis).check()


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 70])
def test_any_number_of_channels_depthwise(isa, channels, dtype, axis):
    padding = (1, 1)
    for stride in ((1, 1), (2, 1)):
        window = Window((3, 3), stride, padding, padding)
        Case((2, channels, 5, 6), channels, window, dtype, axis, groups=channels).check()


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("channels", "outputs", "groups"), [(6, 4, 2), (34, 68, 2), (12, 12, 3), (5, 10, 5), (40, 8, 4)]
)
def test_any_number_of_groups(isa, channels, outputs, groups, dtype, axis):
    window = Window((3, 2), before=(1, 1), after=(1, 0), dilation=(2, 1))
    Case((3, channels, 6, 5), outputs, window, dtype, axis, groups).check()


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("groups", [1, 5])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    list(itertools.product([(1, 1), (3, 2), (2, 5)], [(1, 1), (2, 2), (1, 4)],
                      [((0, 0), (0, 0)), ((1, 2), (1, 2)), ((7, 6), (2, 9))],
                      [(1, 1), (2, 3)])),
)  # fmt: skip
def test_any_window(isa, kernel, stride, padding, dilation, groups, axis):
    window = Window(kernel, stride, *padding, dilation)
    Case((2, 5, 7, 13), 10 if groups == 1 else 5, window, np.float64, axis, groups).check()


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("size", "kernel", "padding"),
    [((1, 1), (1, 1), 0), ((1, 1), (3, 3), 1), ((2, 1), (5, 3), 4), ((1, 9), (3, 3), 1),
     ((9, 1), (3, 3), 1), ((3, 31), (3, 3), 0), ((33, 2), (1, 2), 0)],
)  # fmt: skip
def test_any_size_of_images_even_smaller_than_the_kernel(isa, size, kernel, padding, dtype, axis):
    window = Window(kernel, before=(padding,) * 2, after=(padding,) * 2)
    for n in (1, 3):
        Case((n, 4, *size), 5, window, dtype, axis).check()


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "outputs", "groups", "window"),
    [
        ((1, 3, 64, 70), 40, 1, Window((3, 3), before=(1, 1), after=(1, 1))),  # in bands
        ((11, 20, 9, 9), 33, 1, Window((3, 3), before=(1, 1), after=(1, 1))),
        ((5, 17, 30, 31), 48, 1, Window((3, 3), (2, 2), (1, 1), (1, 1))),
        ((3, 40, 21, 22), 70, 1, Window((1, 1))),
        ((7, 128, 3, 4), 600, 1, Window((3, 3), before=(1, 1), after=(1, 1))),  # in fewer parts
        ((2, 8, 40, 41), 16, 1, Window((2, 3), (3, 2), (4, 1), (4, 1), (2, 3))),
        ((9, 33, 30, 31), 33, 33, Window((3, 3), (1, 1), (1, 1), (1, 1))),
        ((4, 32, 40, 41), 96, 4, Window((3, 3), (2, 2), (1, 1), (1, 1))),
    ],
)
def test_threads_do_not_change_a_bit(isa, shape, outputs, groups, window, dtype, axis):
    case = Case(shape, outputs, window, dtype, axis, groups)
    if dtype == np.float32:  # in float64, the expected sums of so many terms are no better
        case.check()
    bncore.set_max_threads(1)
    expected = [a.tobytes() for a in case.results()]
    for threads in (2, 7):
        bncore.set_max_threads(threads)
        assert [a.tobytes() for a in case.results()] == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("outputs", "groups"), [(20, 1), (17, 17)])
def test_the_order_in_memory_does_not_change_a_bit(isa, outputs, groups, dtype):
    window = Window((3, 3), (1, 2), (1, 0), (1, 1))
    case = Case((4, 17, 6, 9), outputs, window, dtype, groups=groups)
    expected = [a.tobytes() for a in case.results()]
    x, dy = case.x, case.dy
    for order in itertools.permutations(range(4)):
        back = np.argsort(order)
        case.x, case.dy = (
            np.ascontiguousarray(a.transpose(order)).transpose(back) for a in (x, dy)
        )
        assert [a.tobytes() for a in case.results()] == expected
    case.x, case.dy = (np.repeat(a, 2, axis=3)[..., ::2] for a in (x, dy))
    assert [a.tobytes() for a in case.results()] == expected
    case.x, case.dy = (np.ascontiguousarray(a[::-1, :, ::-1])[::-1, :, ::-1] for a in (x, dy))
    assert [a.tobytes() for a in case.results()] == expected


def test_inputs_may_be_read_only_misaligned_or_have_gaps(isa):
    case = Case((2, 5, 6, 7), 8, Window((3, 3)), np.float64)
    expected = [a.tobytes() for a in case.results()]
    for name in ("x", "weight", "bias", "dy"):
        array = getattr(case, name)
        memory = np.empty(array.nbytes + 1, np.uint8)
        misaligned = memory[1:].view(array.dtype).reshape(array.shape)
        misaligned[...] = array
        misaligned.flags.writeable = False
        setattr(case, name, misaligned)
    assert [a.tobytes() for a in case.results()] == expected
    case.weight = np.repeat(case.weight, 2, axis=0)[::2]
    assert [a.tobytes() for a in case.results()] == expected


@pytest.mark.parametrize("axis", [1, -1])
def test_a_batch_of_no_images_has_a_weight_gradient_of_zeros(isa, axis):
    case = Case((0, 3, 5, 5), 4, Window((3, 3)), axis=axis)
    y, dx, dweight, dbias = case.results()
    assert y.shape == (0, 4, 3, 3) and dx.shape == (0, 3, 5, 5)
    assert not dweight.any() and not dbias.any()


def test_infinities_and_nan_stay_at_the_pixels_that_see_them(isa):
    case = Case((1, 3, 9, 9), 5, Window((3, 3), before=(1, 1), after=(1, 1)))
    case.x[0, 1, 0, 8] = np.nan
    y = case.results()[0]
    seen = np.zeros((9, 9), bool)
    seen[:2, 7:] = True
    assert (np.isnan(y[0]) == seen).all()


def test_a_stride_beyond_the_image_takes_no_memory_of_its_size(isa):
    Case((2, 3, 4, 5), 4, Window((2, 2), (2**40, 2**40))).check()


def test_without_memory_for_the_buffers_a_convolution_raises():
    case = Case((1, 1, 1, 1), 1, Window((1, 1), (1, 2**58), (0, 2**58)))
    with pytest.raises(MemoryError, match="no memory for the buffers"):
        conv_direct.convolve(case.x, case.weight, None, case.window, case.dy)
    with pytest.raises(MemoryError, match="no memory for the buffers"):
        conv_direct.convolve_backward(case.x, case.weight, case.window, case.dy, case.x, None)


@pytest.mark.parametrize("axis", [1, -1])
def test_the_layer_leaves_its_inputs_alone(axis):
    conv = nn.Conv2d(5, 6, 3, padding=1, axis=axis, rng=0)
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 5)).astype(np.float32)
    y = conv(x)
    dy = np.ones_like(y)
    for array in (x, dy, conv.weight.data, conv.bias.data):
        array.flags.writeable = False
    conv(x)
    conv.backward(dy)


def test_threads_of_python_may_convolve_at_the_same_time():
    case = Case((8, 16, 20, 20), 33, Window((3, 3)))
    bncore.set_max_threads(2)
    expected = [a.tobytes() for a in case.results()]
    found = []

    def convolve():
        with nn.winograd(False):
            found.append([a.tobytes() for a in case.results()])

    threads = [threading.Thread(target=convolve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
