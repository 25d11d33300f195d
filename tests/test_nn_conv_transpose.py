"""ConvTranspose2d is compared with loops, with Conv2d, central differences and PyTorch."""

import nn_reference as reference
import numpy as np
import pytest
from arrays import normal
from gradcheck import gradcheck

from bn import nn
from bn.nn import conv_direct

F64 = {"dtype": np.float64, "rng": 0}
# (in, out, kernel, stride, padding, output padding, groups, bias, dilation)
CASES = [
    (4, 6, 3),
    (4, 6, 2, 2),
    (4, 6, 3, 2, 1, 1),
    (4, 6, 3, 2, 1, 1, 2),
    (4, 4, 3, 2, 1, 1, 4),
    (4, 8, 3, 2, 1, 0, 4),
    (4, 6, (3, 2), (2, 3), (1, 0), (1, 2), 1, False),
    (4, 6, 3, 1, 1, 0, 1, True, 2),
    (4, 6, 3, 2, 1, 2, 2, True, 3),
    (4, 6, 2, 3, 0, 2),
    (4, 6, 1, 3),
    (4, 17, 4, 2, 1),
    (4, 3, 3, 1, 2),
]


@pytest.fixture(autouse=True, params=[True, False], ids=["direct", "im2col"])
def _strategy(request, monkeypatch):
    monkeypatch.setattr(conv_direct, "FAST", request.param)


def images(axis=1, size=(5, 4), dtype=np.float64):
    x = normal(3, 4, *size, dtype=dtype)
    return x if axis == 1 else reference.channels_last(x)


def layer_of(case, axis=1, **options):
    return nn.ConvTranspose2d(*case, axis=axis, **{**F64, **options})


def expected_of(layer, x, shape):
    """Return y by loops, for x of (N, C, H, W) and the shape of one y."""
    window, after, size = layer.window, [], []
    for i, more in enumerate(layer.output_padding):
        whole = (x.shape[2 + i] - 1) * window.stride[i] + 1
        whole += window.dilation[i] * (window.kernel[i] - 1)
        after.append(max(0, window.before[i] - more))  # what is cut off on this side
        size.append(whole - window.before[i] - after[i])
    how = (window.stride, window.before, after, window.dilation, layer.groups)
    y = np.zeros((len(x), *shape))
    reached = y[:, :, : size[0], : size[1]]  # with a large output_padding not all of y
    reached[...] = reference.conv2d_gradients(reached, layer.weight.data, x, *how)[0]
    return y + (0 if layer.bias is None else layer.bias.data[:, None, None])


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", CASES)
def test_it_equals_the_loops(case, axis):
    layer, x = layer_of(case, axis), images(axis)
    y = layer(x)
    assert layer.output_shape(x.shape[1:]) == y.shape[1:]
    assert (y if axis == -1 else y.transpose(0, 2, 3, 1)).flags.c_contiguous  # channels last
    if axis == -1:
        x, y = x.transpose(0, 3, 1, 2), y.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(y, expected_of(layer, x, y.shape[1:]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_transpose_of_the_convolution_with_its_weight(case):
    layer, x = layer_of(case), images()
    if layer.bias is not None:
        layer.bias.data[...] = 0
    y = layer(x)
    z = normal(*y.shape, seed=1)
    conv = nn.Conv2d(
        layer.out_channels, 4, layer.kernel_size, layer.stride, layer.padding, layer.dilation,
        layer.groups, bias=False, **F64,
    )  # fmt: skip
    conv.weight.data[...] = layer.weight.data
    convolved = conv(z)[:, :, : x.shape[2], : x.shape[3]]  # more with a large output_padding
    np.testing.assert_allclose((y * z).sum(), (x * convolved).sum(), rtol=1e-10)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", CASES)
def test_it_has_the_right_gradients(case, axis):
    gradcheck(layer_of(case, axis), images(axis), entries=30)


def test_the_gradient_of_x_can_be_left_out():
    layer = layer_of(CASES[2])
    y = layer(images())
    assert layer.backward(y, input_grad=False) is None
    without = layer.weight.grad
    layer.zero_grad()
    layer(images())
    layer.backward(y)
    np.testing.assert_array_equal(layer.weight.grad, without)


def test_dx_has_the_order_of_x():
    layer = layer_of(CASES[2])
    for x, order in ((images(), (0, 1, 2, 3)), (nn.channels_last(images()), (0, 2, 3, 1))):
        assert layer.backward(layer(x)).transpose(order).flags.c_contiguous


def test_an_empty_batch_is_empty_and_adds_gradients_of_zero():
    layer = layer_of(CASES[2])
    y = layer(images()[:0])
    assert y.shape == (0, 6, 10, 8)
    assert layer.backward(y).shape == (0, 4, 5, 4)
    assert not layer.weight.grad.any() and not layer.bias.grad.any()


def test_its_parameters_are_drawn_from_the_range_of_pytorch():
    layer = nn.ConvTranspose2d(50, 30, 3, rng=0)
    bound = (30 * 9) ** -0.5
    for values in (layer.weight.data, layer.bias.data):
        assert abs(values).max() <= np.float32(bound)
        assert abs(values).max() > 0.9 * bound
    assert layer.weight.shape == (50, 30, 3, 3) and layer.bias.shape == (30,)


def test_it_learns_its_channels():
    layer = nn.ConvTranspose2d(None, 6, 3, groups=2, rng=0)
    assert not layer.built
    layer.build((4, 5, 5))
    same = nn.ConvTranspose2d(4, 6, 3, groups=2, rng=0)
    np.testing.assert_array_equal(layer.weight, same.weight)
    assert repr(layer) == repr(same)


@pytest.mark.parametrize("case", CASES)
def test_the_multiplications_are_those_of_every_pixel_with_every_weight(case):
    layer, shape = layer_of(case), (4, 5, 7)
    assert layer.multiply_adds(layer.output_shape(shape)) == layer.weight.size * 5 * 7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.ConvTranspose2d(4, 6, 3, 2, output_padding=2),
            r"output_padding must be smaller than stride \(2, 2\) or dilation \(1, 1\), got \(2, 2",
        ),
        (lambda: nn.ConvTranspose2d(4, 6, 3, groups=3), "groups must divide in_channels 4 and out"),
        (
            lambda: nn.ConvTranspose2d(4, 6, 3, padding=2)(normal(1, 4, 2, 5)),
            r"ConvTranspose2d takes images of at least \(3, 3\) pixels, got \(2, 5\)",
        ),
        (
            lambda: nn.ConvTranspose2d(4, 6, 3)(normal(1, 4, 0, 5)),
            r"ConvTranspose2d takes images of at least \(1, 1\) pixels, got \(0, 5\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parity
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-10)])
@pytest.mark.parametrize("case", [*CASES, (4, 32, 3, 1, 1)])
def test_it_equals_pytorch(torch, case, dtype, tolerance):
    ours = layer_of(case, dtype=dtype)
    theirs = torch.nn.ConvTranspose2d(*case)
    theirs = theirs.to(torch.float32 if dtype == np.float32 else torch.float64)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = images(dtype=dtype)
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    dy = normal(*ty.shape, seed=1, dtype=dtype)
    ty.backward(torch.tensor(dy))
    np.testing.assert_allclose(ours(x), ty.detach().numpy(), rtol=tolerance, atol=tolerance)
    close = {"rtol": tolerance, "atol": 20 * tolerance}
    np.testing.assert_allclose(ours.backward(dy), tx.grad.numpy(), **close)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), err_msg=name, **close)
    assert repr(ours) == repr(theirs)
