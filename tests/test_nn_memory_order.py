"""Images may lie in memory channels-first or channels-last; layers keep the order of their input.

As with PyTorch's memory formats, an array of shape (N, C, H, W) may have its channels side by side
in memory. Values, shapes and states do not depend on it.
"""

import itertools

import numpy as np
import pytest
from arrays import normal
from layouts import in_order

import bn
from bn import nn

ORDERS = {"channels-first": (0, 1, 2, 3), "channels-last": (0, 2, 3, 1), "other": (3, 1, 0, 2)}


def lies_in(a, order):
    """Tell whether a lies in this order; axes of size 1 do not count."""
    strides = [a.strides[axis] for axis in order if a.shape[axis] > 1]
    expected = in_order(np.empty(a.shape, a.dtype), order)
    return strides == [expected.strides[axis] for axis in order if a.shape[axis] > 1]


def f32(**more):
    return {"rng": 0, **more}


# Each makes a layer for images of 4 channels.
LAYERS = {
    "ReLU": nn.ReLU,
    "ReLU6": nn.ReLU6,
    "LeakyReLU": nn.LeakyReLU,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "GELU": nn.GELU,
    "PReLU": lambda: nn.PReLU(4),
    "LogSoftmax": lambda: nn.LogSoftmax(1),
    "Softmax": lambda: nn.Softmax(1),
    "Dropout": lambda: nn.Dropout(0.5, rng=0),
    "MaxPool2d": lambda: nn.MaxPool2d(2),
    "MaxPool2d overlapping": lambda: nn.MaxPool2d(3, 1, 1),
    "AvgPool2d": lambda: nn.AvgPool2d(2),
    "AdaptiveAvgPool2d": nn.AdaptiveAvgPool2d,
    "AdaptiveAvgPool2d overlapping": lambda: nn.AdaptiveAvgPool2d(4),
    "Upsample": lambda: nn.Upsample(scale_factor=2),
    "Upsample bilinear": lambda: nn.Upsample((9, 4), mode="bilinear"),
    "ZeroPad2d": lambda: nn.ZeroPad2d(1),
    "Dropout2d": lambda: nn.Dropout2d(0.5, rng=0),
    "BatchNorm2d": lambda: bn.BatchNorm2d(4),
    "BatchNormalization with renorm": lambda: bn.BatchNormalization(axis=1, renorm=True),
    "GhostBatchNorm": lambda: bn.GhostBatchNorm(bn.BatchNorm2d(4), 2),
    "Residual": lambda: nn.Residual(nn.ReLU()),
    "Residual of a normalization": lambda: nn.Residual(bn.BatchNorm2d(4), nn.LeakyReLU()),
    "Sequential": lambda: nn.Sequential(bn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
}
CONVOLUTIONS = {
    "Conv2d": lambda: nn.Conv2d(4, 6, 3, padding=1, **f32()),
    "Conv2d in groups": lambda: nn.Conv2d(4, 6, 3, 2, groups=2, **f32()),
    "Conv2d depthwise": lambda: nn.Conv2d(4, 4, 3, groups=4, **f32()),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, **f32()),
    "Residual of a convolution": lambda: nn.Residual(nn.Conv2d(4, 4, 1, **f32())),
}


def passes(make, x, dy_order):
    """Return y, dx and the gradients of the parameters, with a dy in this order."""
    layer = make()
    y = layer(x)
    dy = in_order(normal(*y.shape, seed=5).astype(y.dtype), dy_order)
    kept = x.copy(), dy.copy()
    dx = layer.backward(dy)
    assert np.array_equal(x, kept[0]) and np.array_equal(dy, kept[1])  # inputs stay as they are
    return y, dx, [p.grad for p in layer.parameters()]


@pytest.mark.parametrize("name", [n for n in (*LAYERS, *CONVOLUTIONS) if n != "Dropout"])
def test_values_do_not_depend_on_the_order(name):
    make = {**LAYERS, **CONVOLUTIONS}[name]
    x = normal(4, 4, 6, 5).astype(np.float32)
    y, dx, grads = passes(make, x, ORDERS["channels-first"])
    for order, dy_order in itertools.product(ORDERS.values(), ORDERS.values()):
        y_, dx_, grads_ = passes(make, in_order(x, order), dy_order)
        np.testing.assert_allclose(y_, y, rtol=2e-6, atol=2e-6)
        np.testing.assert_allclose(dx_, dx, rtol=2e-5, atol=2e-6)
        for a, b in zip(grads_, grads, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dy_order", ORDERS)
@pytest.mark.parametrize("name", LAYERS)
def test_y_and_dx_have_the_order_of_x(name, dy_order, order):
    x = in_order(normal(4, 4, 6, 5).astype(np.float32), ORDERS[order])
    y, dx, _ = passes(LAYERS[name], x, ORDERS[dy_order])
    assert lies_in(y, ORDERS[order])
    assert lies_in(dx, ORDERS[order])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dy_order", ORDERS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_returns_channels_last_and_dx_in_the_order_of_x(name, dy_order, order):
    x = in_order(normal(4, 4, 6, 5).astype(np.float32), ORDERS[order])
    y, dx, _ = passes(CONVOLUTIONS[name], x, ORDERS[dy_order])
    assert lies_in(y, ORDERS["channels-last"])
    assert lies_in(dx, ORDERS[order])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", [(4, 1, 6, 5), (4, 3, 1, 1), (1, 3, 6, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("name", ["ReLU", "MaxPool2d overlapping", "Residual"])
def test_axes_of_size_one_do_not_count(name, shape, order):
    x = in_order(normal(*shape).astype(np.float32), ORDERS[order])
    y, dx, _ = passes(LAYERS[name], x, ORDERS[order])
    assert lies_in(y, ORDERS[order])
    assert lies_in(dx, ORDERS[order])


@pytest.mark.parametrize("order", ORDERS)
def test_dx_of_flatten_has_the_order_of_x(order):
    x = in_order(normal(4, 4, 6, 5).astype(np.float32), ORDERS[order])
    y, dx, _ = passes(nn.Flatten, x, (0, 1))
    np.testing.assert_array_equal(y, np.ascontiguousarray(x).reshape(4, -1))
    assert lies_in(dx, ORDERS[order])


def test_channels_last_converts_once():
    x = normal(2, 3, 4, 5).astype(np.float32)
    y = nn.channels_last(x)
    assert lies_in(y, ORDERS["channels-last"])
    np.testing.assert_array_equal(y, x)
    assert nn.channels_last(y) is y


@pytest.mark.parametrize(
    ("x", "error"), [(np.zeros((2, 3)), ValueError), (np.zeros((1, 1, 1, 1), int), TypeError)]
)
def test_channels_last_refuses_what_are_no_images(x, error):
    with pytest.raises(error, match=r"channels_last (takes|must)"):
        nn.channels_last(x)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("outputs", [3, 9])  # fewer and more than samples: which is copied differs
def test_a_linear_layer_flattens_in_any_order_as_flatten_would(outputs, order):
    x = in_order(normal(4, 4, 6, 5), ORDERS[order])
    apart = nn.Linear(120, outputs, dtype=np.float64, rng=0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(120, outputs, dtype=np.float64, rng=0))
    y = apart(np.ascontiguousarray(x).reshape(4, -1))
    np.testing.assert_allclose(model(x), y, rtol=1e-12)
    dy = normal(*y.shape, seed=5)
    dx = model.backward(dy)
    np.testing.assert_allclose(dx.reshape(4, -1), apart.backward(dy), rtol=1e-12)
    assert lies_in(dx, ORDERS[order])
    for a, b in zip(model.parameters(), apart.parameters(), strict=True):
        np.testing.assert_allclose(a.grad, b.grad, rtol=1e-12)


def test_a_flatten_before_a_linear_layer_copies_no_channels_last_images():
    x = nn.channels_last(normal(4, 4, 6, 5))
    model = nn.Sequential(nn.Flatten(), nn.Linear(120, 3, rng=0))
    seen, forward = [], model[1].forward

    def watched(images, *, flatten):
        seen.append(images)
        return forward(images, flatten=flatten)

    model[1].forward = watched
    model(x)
    assert len(seen) == 1 and seen[0] is x


def test_a_linear_layer_that_flattens_needs_as_many_features():
    model = nn.Sequential(nn.Flatten(), nn.Linear(100, 3, rng=0))
    with pytest.raises(ValueError, match="Linear takes 100 features on the last axis"):
        model(nn.channels_last(normal(4, 4, 6, 5)))


@pytest.mark.parametrize("order", ORDERS)
def test_a_linear_layer_flattens_no_images(order):
    x = in_order(normal(4, 4, 6, 5), ORDERS[order])[:0]
    model = nn.Sequential(nn.Flatten(), nn.Linear(120, 3, dtype=np.float64, rng=0))
    y = model(x)
    assert y.shape == (0, 3)
    assert model.backward(y).shape == x.shape
