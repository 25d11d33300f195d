"""`bn.check_inputs`: an array that changes between forward and backward is an error."""

import threading

import ml_dtypes
import numpy as np
import pytest

import bn
from bn import nn
from bn.recording.in_place import setting

IMAGES = np.random.default_rng(3).standard_normal((4, 3, 6, 6)).astype(np.float32)
ROWS = np.random.default_rng(4).standard_normal((20, 3)).astype(np.float32)


class Scale(nn.Module):
    """A layer of one's own, which does not say what it keeps."""

    def __init__(self):
        self.weight = nn.Parameter(np.array([2.0], np.float32))

    def output_shape(self, input_shape):
        return input_shape

    def forward(self, x):
        y = x * self.weight.data
        self.keep(y, x)
        return y

    def backward(self, dy):
        (x,) = self.take(dy)
        self.weight.accumulate(np.array([np.sum(dy * x)]))
        return dy * self.weight.data


class Product(nn.Module):
    """A model that multiplies its inputs."""

    def forward(self, a, b):
        return a * b


class Wrapped(nn.Module):
    """A model of one layer."""

    def __init__(self, layer):
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


KEEP_X = {
    "x of Conv2d": (lambda: nn.Conv2d(3, 2, 3, rng=0), IMAGES),
    "x of Linear": (lambda: nn.Linear(3, 2, rng=0), ROWS),
    "x of LeakyReLU": (nn.LeakyReLU, ROWS),
    "x of BatchNorm1d": (lambda: bn.BatchNorm1d(3), ROWS),
    "x of BatchNormalization": (lambda: bn.BatchNormalization(renorm=True), ROWS),
    "x of GhostBatchNorm": (lambda: bn.GhostBatchNorm(bn.BatchNorm1d(3), 10), ROWS),
    "an array of Scale": (Scale, ROWS),
}
KEEP_Y = [nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Tanh, nn.Softmax, nn.LogSoftmax]


def alone(layer):
    return layer


@pytest.fixture(autouse=True)
def _the_check_is_off_again():
    yield
    assert not bn.check_inputs.on()


@pytest.mark.parametrize("inside", [alone, Wrapped, nn.Sequential])
@pytest.mark.parametrize("what", KEEP_X)
def test_an_input_that_was_changed_in_place_is_an_error_that_names_the_layer(what, inside):
    make, x = KEEP_X[what]
    model, x = inside(make()), x.copy()
    with bn.check_inputs():
        y = model(x)
    x[0, 0] += 1
    with pytest.raises(RuntimeError, match=f"{what} was changed in place between forward and back"):
        model.backward(np.ones_like(y))


@pytest.mark.parametrize("inside", [alone, Wrapped])
@pytest.mark.parametrize("make", KEEP_Y)
def test_an_output_that_was_changed_in_place_is_an_error(make, inside):
    model = inside(make())
    with bn.check_inputs():
        y = model(ROWS)
    y *= 2
    with pytest.raises(RuntimeError, match=f"the output of {make.__name__} was changed in place"):
        model.backward(np.ones_like(y))


@pytest.mark.parametrize(
    ("layers", "first"),
    [
        (lambda: [nn.Conv2d(3, 2, 3, rng=0), nn.ReLU()], "Conv2d"),
        (lambda: [nn.Conv2d(3, 2, 3, rng=0), nn.ReLU(), nn.MaxPool2d(2)], "Conv2d"),
        (lambda: [bn.BatchNorm2d(3), nn.ReLU()], "BatchNorm2d"),
        (lambda: [bn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)], "BatchNorm2d"),
        (lambda: [nn.Residual(bn.BatchNorm2d(3)), nn.ReLU()], "BatchNorm2d"),
    ],
)
def test_the_input_of_layers_that_are_computed_together_is_checked(layers, first):
    model, x = nn.Sequential(*layers()), IMAGES.copy()
    with bn.check_inputs():
        y = model(x)
    x += 1
    with pytest.raises(RuntimeError, match=f"x of {first} was changed in place"):
        model.backward(np.ones_like(y))


def test_the_output_of_layers_that_are_computed_together_is_checked():
    model = nn.Sequential(nn.Conv2d(3, 2, 3, rng=0), nn.ReLU())
    with bn.check_inputs():
        y = model(IMAGES)
    y[...] = 0
    with pytest.raises(RuntimeError, match="the output of Conv2d was changed in place"):
        model.backward(np.ones_like(y))


def test_a_residual_that_was_changed_in_place_is_an_error():
    class Sum(nn.Module):
        def __init__(self):
            self.norm, self.relu = bn.BatchNorm1d(3), nn.ReLU()

        def forward(self, x, other):
            return self.relu(self.norm(x) + other)

    model, other = Sum(), ROWS.copy()
    with bn.check_inputs():
        y = model(ROWS, other)
    other += 1
    with pytest.raises(RuntimeError, match="residual of BatchNorm1d was changed in place"):
        model.backward(y)


def test_an_operand_that_was_changed_in_place_is_an_error():
    model, b = Product(), ROWS.copy()
    with bn.check_inputs():
        y = model(ROWS, b)
    b += 1
    with pytest.raises(RuntimeError, match="an operand of multiply was changed in place"):
        model.backward(y)


def test_a_weight_that_a_layer_keeps_is_checked():
    layer = nn.Linear(3, 2, rng=0)
    with bn.check_inputs():
        y = layer(ROWS)
    layer.weight.data += 1
    with pytest.raises(RuntimeError, match="weight of Linear was changed in place"):
        layer.backward(y)


@pytest.mark.parametrize(
    "x",
    [
        ROWS.T.copy().T,
        ROWS[::2],
        ROWS[:, ::-1],
        np.broadcast_to(ROWS[:1], (20, 3)),
        ROWS.astype(np.float64),
        ROWS.astype(np.float16),
        ROWS.astype(ml_dtypes.bfloat16),
        ROWS[:0],
    ],
    ids=["F order", "gaps", "reversed", "broadcast", "double", "half", "bfloat16", "empty"],
)
def test_arrays_that_stay_as_they_are_give_the_gradients_that_they_give_without_a_check(x):
    checked, plain = bn.BatchNorm1d(3), bn.BatchNorm1d(3)
    with bn.check_inputs():
        y = checked(x)
    dx = checked.backward(y)
    np.testing.assert_array_equal(dx, plain.backward(plain(x)))


def test_a_training_step_with_the_check_is_the_step_without():
    gradients = []
    for check in (False, True):
        model = nn.models.resnet20(rng=0)
        with bn.check_inputs(check):
            y = model(IMAGES.repeat(2, 2).repeat(2, 3))
            model.backward(np.ones_like(y))
        gradients.append([p.grad for p in model.parameters()])
    for plain, checked in zip(*gradients, strict=True):
        np.testing.assert_array_equal(plain, checked)


def test_without_the_check_a_changed_input_is_no_error():
    layer, x = bn.BatchNorm1d(3), ROWS.copy()
    y = layer(x)
    x += 1
    layer.backward(y)
    assert setting.get() is None


def test_after_the_error_the_array_can_be_put_right():
    layer, x = bn.BatchNorm1d(3), ROWS.copy()
    with bn.check_inputs():
        y = layer(x)
    x[0, 0] += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        layer.backward(y)
    x[...] = ROWS
    expected = bn.BatchNorm1d(3)
    np.testing.assert_array_equal(layer.backward(y), expected.backward(expected(ROWS)))


def test_the_check_holds_from_the_call_on_or_within_a_block_and_for_one_thread():
    seen = []
    with bn.check_inputs(False):
        bn.check_inputs(True)
        assert bn.check_inputs.on()
        thread = threading.Thread(target=lambda: seen.append(bn.check_inputs.on()))
        thread.start()
        thread.join()
        with bn.check_inputs(False):
            assert not bn.check_inputs.on()
        assert bn.check_inputs.on()
    assert seen == [False]
    with pytest.raises(TypeError, match="mode must be True or False, got 1"):
        bn.check_inputs(1)
