"""Conv1d and the pools of signals are the layers of images on images of one row."""

import numpy as np
import pytest
from arrays import normal
from gradcheck import gradcheck

from bn import nn

F64 = {"dtype": np.float64, "rng": 0}
# (in, out, kernel, stride, padding, dilation, groups)
CONVOLUTIONS = [
    (4, 6, 3),
    (4, 6, 3, 2, 1),
    (4, 6, 4, 1, "same", 2),
    (4, 6, 3, 2, "valid"),
    (4, 6, 5, 1, 2, 1, 2),
    (4, 4, 3, 1, 1, 1, 4),
    (4, 6, 1),
    (4, 20, 2, 3, 2, 3),
]
# (kernel, stride, padding)
POOLS = [(2,), (3, 2, 1), (3, 1, 1), (5, 4), (4, 3, 2), (300, 3, 150)]


def signals(axis=1, length=21):
    x = normal(2, 4, length)
    return x if axis == 1 else np.ascontiguousarray(x.transpose(0, 2, 1))


def turned(x, axis):
    """Return (N, C, L)."""
    return x if axis == 1 else x.transpose(0, 2, 1)


def one_row(value, fill):
    """Return an option of signals as that of images of one row."""
    return value if isinstance(value, str) else (fill, value)


def of_images(case):
    channels, sizes, fills = case[:2], case[2:6], (1, 1, 0, 1)
    return (*channels, *map(one_row, sizes, fills), *case[6:])


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_a_convolution_is_that_of_an_image_of_one_row(case, axis):
    layer, x = nn.Conv1d(*case, axis=axis, **F64), signals(axis)
    images = nn.Conv2d(*of_images(case), **F64)
    images.weight.data[:, :, 0] = layer.weight.data
    y, expected = layer(x), images(turned(x, axis)[:, :, None])
    np.testing.assert_array_equal(turned(y, axis), expected[:, :, 0])
    assert layer.output_shape(x.shape[1:]) == y.shape[1:]
    dy = normal(*y.shape, seed=1)
    dx, same = layer.backward(dy), images.backward(turned(dy, axis)[:, :, None])
    np.testing.assert_array_equal(turned(dx, axis), same[:, :, 0])
    np.testing.assert_array_equal(layer.weight.grad, images.weight.grad[:, :, 0])
    np.testing.assert_array_equal(layer.bias.grad, images.bias.grad)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("kind", ["MaxPool", "AvgPool"])
@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize("case", POOLS)
def test_a_pool_is_that_of_an_image_of_one_row(case, ceil_mode, kind, axis):
    layer = getattr(nn, f"{kind}1d")(*case, ceil_mode=ceil_mode, axis=axis)
    sizes = map(one_row, case, (1, 1, 0))
    images = getattr(nn, f"{kind}2d")(*sizes, ceil_mode=ceil_mode)
    x = signals(axis)
    y, expected = layer(x), images(turned(x, axis)[:, :, None])
    np.testing.assert_array_equal(turned(y, axis), expected[:, :, 0])
    assert layer.output_shape(x.shape[1:]) == y.shape[1:]
    dy = normal(*y.shape, seed=1)
    dx, same = layer.backward(dy), images.backward(turned(dy, axis)[:, :, None])
    np.testing.assert_array_equal(turned(dx, axis), same[:, :, 0])


@pytest.mark.parametrize("axis", [1, -1])
def test_layers_have_the_right_gradients(axis):
    for layer in (
        nn.Conv1d(4, 6, 3, 2, 1, groups=2, axis=axis, **F64),
        nn.Conv1d(4, 3, 2, bias=False, axis=axis, **F64),
        nn.MaxPool1d(3, 2, 1, axis=axis),
        nn.AvgPool1d(3, 2, 1, True, False, axis=axis),
    ):
        gradcheck(layer, signals(axis, 9), entries=40)


def test_a_convolution_of_signals_learns_its_channels():
    layer = nn.Conv1d(None, 6, 3, groups=2, rng=0)
    assert not layer.built
    layer.build((4, 10))
    assert layer.weight.shape == (6, 2, 3) and layer.in_channels == 4
    np.testing.assert_array_equal(layer.weight, nn.Conv1d(4, 6, 3, groups=2, rng=0).weight)
    assert repr(layer) == "Conv1d(4, 6, kernel_size=(3,), stride=(1,), groups=2)"


def test_signals_lie_channels_last_behind_a_convolution_and_pools_keep_their_order():
    x = normal(2, 4, 9)
    y = nn.Conv1d(4, 6, 3, **F64)(x)
    assert y.transpose(0, 2, 1).flags.c_contiguous
    for pool in (nn.MaxPool1d(2), nn.AvgPool1d(2)):
        for z, order in ((y, (0, 2, 1)), (x, (0, 1, 2))):
            assert pool(z).transpose(order).flags.c_contiguous
            assert pool.backward(pool(z)).transpose(order).flags.c_contiguous


def test_a_network_of_signals_is_recorded_and_summed_up(capsys):
    model = nn.Sequential(
        nn.Conv1d(4, 6, 3, padding=1, **F64), nn.Tanh(), nn.MaxPool1d(2), nn.AvgPool1d(2),
        nn.Flatten(), nn.Linear(30, 2, **F64),
    )  # fmt: skip
    model.summary((4, 20))
    assert "Conv1d" in capsys.readouterr().out
    gradcheck(model, normal(3, 4, 20), entries=30)
    assert nn.Conv1d(4, 6, 3).multiply_adds((6, 10)) == 6 * 4 * 3 * 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv1d(4, 6, (3, 3)), r"kernel_size must be an integer >= 1, got \(3, 3\)"),
        (lambda: nn.Conv1d(4, 6, 3, padding="all"), "padding must be 'same', 'valid' or integers"),
        (lambda: nn.Conv1d(4, 6, 3, 2, "same"), r"padding='same' needs stride 1, got stride=\(2,"),
        (lambda: nn.Conv1d(4, 6, 3, axis=2), r"axis must be 1 \(N, C, L\) or -1 \(N, L, C\), got"),
        (lambda: nn.MaxPool1d(3, padding=2), "padding must be at most half of kernel_size 3, got"),
        (lambda: nn.Conv1d(4, 6, 3)(normal(2, 4, 2)), "Conv1d takes signals of at least 3 values"),
        (lambda: nn.MaxPool1d(3).output_shape((4,)), r"MaxPool1d takes inputs of shape \(C, L\)"),
        (
            lambda: nn.Conv1d(4, 6, 3, axis=-1).output_shape((4, 9)),
            r"Conv1d takes 4 channels in \(L, C\), got \(4, 9\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- PyTorch ----


def assert_equals_pytorch(torch, ours, theirs, tolerance):
    x = normal(2, 4, 21, dtype=np.float32 if tolerance > 1e-8 else np.float64)
    theirs = theirs.to(torch.float32 if tolerance > 1e-8 else torch.float64)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    dy = normal(*ty.shape, seed=1, dtype=x.dtype)
    ty.backward(torch.tensor(dy))
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(ours(x), ty.detach().numpy(), **close)
    np.testing.assert_allclose(ours.backward(dy), tx.grad.numpy(), **close)
    close["atol"] *= 20
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad.numpy(), err_msg=name, **close)
    assert repr(ours) == repr(theirs)


with_dtypes = pytest.mark.parametrize(("dtype", "tolerance"), [("f4", 1e-5), ("f8", 1e-10)])


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@with_dtypes
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions_equal_pytorch(torch, case, dtype, tolerance):
    ours = nn.Conv1d(*case, dtype=dtype, rng=0)
    assert_equals_pytorch(torch, ours, torch.nn.Conv1d(*case), tolerance)


@pytest.mark.parity
@with_dtypes
@pytest.mark.parametrize("ceil_mode", [True, False])
@pytest.mark.parametrize("case", POOLS[:-1])
def test_pools_equal_pytorch(torch, case, ceil_mode, dtype, tolerance):
    for kind, more in (
        ("MaxPool1d", {}),
        ("AvgPool1d", {}),
        ("AvgPool1d", {"count_include_pad": False}),
    ):
        options = {"ceil_mode": ceil_mode, **more}
        ours, theirs = (
            getattr(nn, kind)(*case, **options),
            getattr(torch.nn, kind)(*case, **options),
        )
        assert_equals_pytorch(torch, ours, theirs, tolerance)
