"""Conv2d is compared with loops, central differences and PyTorch."""

import nn_reference as reference
import numpy as np
import pytest
from gradcheck import gradcheck

from bn import nn
from bn.nn import conv_direct, conv_im2col
from bn.nn.conv_im2col import Columns
from bn.nn.conv_strategy import strategy
from bn.nn.window import Window

# (in, out, kernel, stride, padding, dilation, groups)
CASES = [
    (3, 4, 3, 1, 1, 1, 1),
    (3, 4, (3, 2), (1, 2), (1, 0), 1, 1),
    (4, 6, 3, 2, 1, 1, 2),
    (4, 4, 3, 1, 1, 1, 4),
    (4, 8, 3, 2, 1, 2, 4),
    (2, 3, (1, 3), 1, 0, (1, 2), 1),
    (2, 3, 2, 3, 2, 1, 1),
    (5, 4, 1, 1, 0, 1, 1),
    (4, 6, 1, 1, 0, 1, 2),
    (4, 6, 1, 2, 0, 1, 1),
    (3, 2, 4, 1, "same", 1, 1),
    (3, 2, (3, 2), 1, "same", (2, 3), 1),
    (3, 2, 3, 2, "valid", 1, 1),
    (16, 3, 3, 1, 1, 1, 1),
    (16, 3, (3, 2), 2, (1, 0), (1, 2), 1),
    (17, 2, 1, 1, 0, 1, 1),
    (20, 20, 3, 2, 1, 1, 20),
    (6, 12, (2, 3), 1, 1, (2, 1), 3),
]


@pytest.fixture(autouse=True, params=[True, False], ids=["direct", "im2col"])
def _strategy(request, monkeypatch):
    monkeypatch.setattr(conv_direct, "FAST", request.param)


def layer_and_input(case, axis, dtype=np.float64, n=3, size=(7, 9)):
    layer = nn.Conv2d(*case, axis=axis, dtype=dtype, rng=0)
    x = np.random.default_rng(1).standard_normal((n, case[0], *size)).astype(dtype)
    return layer, x if axis == 1 else reference.channels_last(x)


def as_pair(value):
    return value if isinstance(value, tuple) else (value, value)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", CASES)
def test_conv_equals_the_loops(case, axis):
    layer, x = layer_and_input(case, axis)
    _, _, kernel, stride, padding, dilation, groups = case
    kernel, stride, dilation = as_pair(kernel), as_pair(stride), as_pair(dilation)
    before = after = (0, 0) if isinstance(padding, str) else as_pair(padding)
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        before = [t // 2 for t in total]
        after = [t - t // 2 for t in total]
    x_cf = x if axis == 1 else reference.channels_first(x)
    weight, bias = layer.weight.data, layer.bias.data
    expected = reference.conv2d(x_cf, weight, bias, stride, before, after, dilation, groups)
    y = layer(x)
    assert (y if axis == -1 else y.transpose(0, 2, 3, 1)).flags.c_contiguous  # channels last
    assert layer.output_shape(x.shape[1:]) == y.shape[1:]
    y = y if axis == 1 else reference.channels_first(y)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", CASES)
def test_conv_has_the_right_gradients(case, axis, training):
    layer, x = layer_and_input(case, axis, size=(5, 7))
    gradcheck(layer.train(training), x, entries=40)


@pytest.mark.parametrize("axis", [1, -1])
def test_conv_over_several_blocks_with_a_smaller_last_one_equals_image_by_image(axis):
    layer, x = layer_and_input((16, 3, 3, 1, 1, 1, 1), axis, n=7, size=(25, 30))
    y = layer(x)
    dy = np.random.default_rng(2).standard_normal(y.shape)
    dx = layer.backward(dy)
    dweight, dbias = layer.weight.grad, layer.bias.grad
    layer.zero_grad()
    for i in range(7):
        np.testing.assert_allclose(layer(x[i : i + 1]), y[i : i + 1], rtol=1e-10, atol=1e-12)
        one = layer.backward(dy[i : i + 1])
        np.testing.assert_allclose(one, dx[i : i + 1], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.weight.grad, dweight, rtol=1e-10)
    np.testing.assert_allclose(layer.bias.grad, dbias, rtol=1e-10)


def test_images_of_the_block_before_do_not_count_in_a_smaller_last_one():
    layer, x = layer_and_input((16, 3, 3, 1, 1, 1, 1), 1, n=7, size=(25, 30))
    y = layer(x)
    layer.backward(y)
    expected = layer.weight.grad
    layer.zero_grad()
    layer(x)
    layer.backward(y, input_grad=False)
    np.testing.assert_allclose(layer.weight.grad, expected, rtol=1e-10)


@pytest.mark.parametrize("case", [CASES[0], CASES[7], CASES[13]])
@pytest.mark.parametrize("axis", [1, -1])
def test_conv_takes_arrays_in_any_memory_order(case, axis):
    layer, x = layer_and_input(case, axis)
    y = layer(x)
    dy = np.random.default_rng(2).standard_normal(y.shape)
    dx = layer.backward(dy)
    for order in [(3, 1, 2, 0), (0, 2, 3, 1), (0, 3, 1, 2)]:
        back = np.argsort(order)
        strided = np.ascontiguousarray(x.transpose(order)).transpose(back)
        strided_dy = np.ascontiguousarray(dy.transpose(order)).transpose(back)
        np.testing.assert_allclose(layer(strided), y, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(layer.backward(strided_dy), dx, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer(x[::-1])[::-1], y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", [CASES[0], CASES[7], CASES[13]])
def test_conv_of_an_empty_batch_is_empty(case, axis):
    layer, x = layer_and_input(case, axis)
    y = layer(x[:0])
    assert y.shape == (0, *layer.output_shape(x.shape[1:]))
    assert layer.backward(y).shape == x[:0].shape
    assert not layer.weight.grad.any() and not layer.bias.grad.any()


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[7], CASES[13]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conv_keeps_the_dtype(case, axis, dtype):
    layer, x = layer_and_input(case, axis, dtype)
    y = layer(x)
    assert y.dtype == dtype
    assert layer.backward(y).dtype == dtype
    assert layer.weight.grad.dtype == layer.bias.grad.dtype == dtype


def test_conv_keeps_nothing_of_its_inputs_size_but_the_input():
    layer, x = layer_and_input(CASES[0], 1)
    layer(x)
    kept = layer._kept[2]
    assert len(kept) == 1 and kept[0] is x


@pytest.mark.parametrize("case", CASES)
def test_the_columns_of_a_convolution_stay_inside_their_memory(case):
    layer, x = layer_and_input(case, 1)
    columns = Columns(3, x, layer.window, layer.output_shape(x.shape[1:])[1:])
    taps, memory = columns._taps, columns._padded
    reach = sum((n - 1) * s for n, s in zip(taps.shape, taps.strides, strict=True))
    assert reach + taps.itemsize <= memory.nbytes


@pytest.mark.parametrize(("fast", "expected"), [(True, conv_direct), (False, conv_im2col)])
def test_the_kernels_are_used_where_they_are_fast(monkeypatch, fast, expected):
    monkeypatch.setattr(conv_direct, "FAST", fast)
    assert strategy() is expected


def test_a_window_tells_the_padding_in_pixels():
    same = nn.Conv2d(1, 1, (4, 3), padding="same", dilation=(1, 2)).window
    assert same == Window((4, 3), (1, 1), before=(1, 2), after=(2, 2), dilation=(1, 2))
    assert nn.Conv2d(1, 1, 2, 2, "valid").window == Window((2, 2), (2, 2))
    assert nn.Conv2d(1, 1, 2, 2, 1).window == Window((2, 2), (2, 2), (1, 1), (1, 1))
    with pytest.raises(AttributeError):
        nn.Conv2d(1, 1, 2).window = same


def test_conv_without_bias_has_none():
    layer = nn.Conv2d(2, 3, 3, bias=False, rng=0)
    assert layer.bias is None
    assert list(layer.state_dict()) == ["weight"]


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", [CASES[2], CASES[7], CASES[13]])
def test_conv_without_bias_has_the_right_gradients(case, axis):
    layer = nn.Conv2d(*case, bias=False, axis=axis, dtype=np.float64, rng=0)
    _, x = layer_and_input(case, axis)
    gradcheck(layer, x, entries=20)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", CASES)
def test_conv_equals_pytorch(torch, case, axis):
    layer, x = layer_and_input(case, axis)
    theirs = torch.nn.Conv2d(*case, dtype=torch.float64)
    theirs.load_state_dict({k: torch.tensor(v) for k, v in layer.state_dict().items()})
    x_cf = x if axis == 1 else reference.channels_first(x)
    tx = torch.tensor(x_cf, requires_grad=True)
    ty = theirs(tx)
    dy = np.random.default_rng(2).standard_normal(ty.shape)
    ty.backward(torch.tensor(dy))
    turn = (lambda a: a) if axis == 1 else reference.channels_last
    close = {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(layer(x), turn(ty.detach().numpy()), **close)
    np.testing.assert_allclose(layer.backward(turn(dy)), turn(tx.grad.numpy()), **close)
    np.testing.assert_allclose(layer.weight.grad, theirs.weight.grad.numpy(), **close)
    np.testing.assert_allclose(layer.bias.grad, theirs.bias.grad.numpy(), **close)
    if axis == 1:
        assert repr(layer) == repr(theirs)
