"""What counts as an integer and as a number, wherever one is asked for: never a bool."""

import re

import numpy as np
import pytest

import bn
from bn import _check, memory, nn


@pytest.mark.parametrize("value", [0, -3, 10**30, np.int8(1), np.uint64(2)])
def test_an_integer_is_one_of_python_or_numpy(value):
    assert _check.is_integer(value) and _check.is_number(value)


@pytest.mark.parametrize("value", [True, False, np.True_, "1", None, [1], np.array([1]), 1j])
def test_a_bool_and_other_things_are_neither_an_integer_nor_a_number(value):
    assert not _check.is_integer(value) and not _check.is_number(value)


@pytest.mark.parametrize("value", [0.0, float("nan"), np.float16(1), np.float32(2), np.float64(3)])
def test_a_float_is_a_number_and_no_integer(value):
    assert _check.is_number(value) and not _check.is_integer(value)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.Linear(True, 2), ValueError, "in_features must be a positive integer"),
        (lambda: nn.Softmax(True), TypeError, "axis must be an integer"),
        (lambda: nn.Conv2d(1, 1, True), ValueError, "kernel_size must be an integer >= 1"),
        (lambda: nn.Conv2d(1, 1, (2, True)), ValueError, "kernel_size must be an integer >= 1"),
        (lambda: nn.MaxPool2d(2, axis=True), ValueError, "axis must be 1 (N, C, H, W) or -1"),
        (lambda: nn.Dropout(rng=True), TypeError, "rng must be a seed >= 0, a numpy Generator"),
        (
            lambda: nn.ReLU().summary((2, True)),
            TypeError,
            "input_shape must be a tuple of integers",
        ),
        (lambda: memory.set_limit(True), ValueError, "must be a whole number of bytes"),
        (lambda: bn.set_num_threads(True), ValueError, "n must be a positive integer"),
        (lambda: nn.LeakyReLU(True), ValueError, "negative_slope must be a finite number"),
        (lambda: nn.Dropout(True), ValueError, "p must be between 0 and 1"),
        (lambda: bn.BatchNorm1d(2, eps=True), ValueError, "eps must be a number of at least 0"),
    ],
)
def test_a_bool_is_refused_in_the_place_of_a_number(call, error, message):
    with pytest.raises(error, match=re.escape(message) + ".*True"):
        call()


X, ONE = np.arange(12.0).reshape(4, 3), np.ones(3)


def parameters():
    return [nn.Parameter(np.ones(2))]


class Scaled(nn.Module):
    """A model that multiplies with a number."""

    def __init__(self, number):
        self.relu, self.number = nn.ReLU(), number

    def forward(self, x):
        return self.relu(x) * self.number


def set_eps(layer, value):
    layer.eps = value


def load_option(optimizer, name, value):
    state = optimizer.state_dict()
    state["param_groups"][0][name] = value
    optimizer.load_state_dict(state)


TAKE_A_NUMBER = {  # by what they say of a wrong one
    "eps must be a number of at least 0": [
        lambda v: bn.normalize(X, ONE, ONE, eps=v),
        lambda v: bn.normalize_batch(X, eps=v),
        lambda v: bn.backward_apply(X, X, ONE, ONE, eps=v),
        lambda v: bn.backward_batch(X, X, bn.stats(X), eps=v),
        lambda v: bn.backward_reduce(X, X, ONE).dweight(ONE, v),
        lambda v: bn.batch_norm(X, ONE, ONE, eps=v),
        lambda v: bn.batch_norm_double_backward(None, None, None, X, X, ONE, ONE, eps=v),
        lambda v: bn.fold_arrays(np.ones((3, 2)), None, ONE, ONE, eps=v),
        lambda v: bn.preset("keras", 3, eps=v),
        lambda v: bn.BatchNorm1d(3, eps=v),
        lambda v: set_eps(bn.BatchNorm1d(3), v),
        lambda v: set_eps(bn.BatchNormalization(), v),
        lambda v: nn.Adam(parameters(), eps=v),
    ],
    "epsilon must be a number of at least 0": [
        lambda v: bn.BatchNormalization(epsilon=v),
        lambda v: bn.onnx.BatchNormalization(X, ONE, ONE, ONE, ONE, epsilon=v),
    ],
    "momentum must be a finite number": [
        lambda v: bn.batch_norm(X, ONE.copy(), ONE.copy(), training=True, momentum=v),
        lambda v: bn.commit(bn.stats(X), ONE.copy(), ONE.copy(), v),
        lambda v: bn.onnx.BatchNormalization(X, ONE, ONE, ONE, ONE, momentum=v, training_mode=1),
    ],
    "momentum must be between 0 and 1": [
        lambda v: bn.BatchNorm1d(3, momentum=v),
        lambda v: bn.RunningStats(3, momentum=v),
        lambda v: bn.BatchNormalization(momentum=v),
        lambda v: bn.BatchNormalization(renorm=True, renorm_momentum=v),
    ],
    "negative_slope must be a finite number": [
        lambda v: bn.normalize(X, ONE, ONE, activation="leaky_relu", negative_slope=v),
        nn.LeakyReLU,
    ],
    "p must be between 0 and 1": [nn.Dropout],
    "label_smoothing must be between 0 and 1": [lambda v: nn.CrossEntropyLoss(label_smoothing=v)],
    "betas must be two numbers, at least 0 and less than 1": [
        lambda v: nn.Adam(parameters(), betas=(v, 0.9)),
        lambda v: nn.AdamW(parameters(), betas=(0.9, v)),
    ],
    "lr must be a number of at least 0": [
        lambda v: nn.SGD(parameters(), lr=v),
        lambda v: load_option(nn.SGD(parameters(), lr=1.0), "lr", v),
    ],
    "base_lr must be a number of at least 0": [
        lambda v: nn.StepLR(nn.SGD(parameters(), lr=1.0), 2).load_state_dict(
            {"base_lrs": [v], "last_epoch": 1}
        ),
    ],
    "alpha must be between 0 and 1": [lambda v: nn.RMSprop(parameters(), alpha=v)],
    "start_factor must be above 0 and at most 1": [
        lambda v: nn.LinearLR(nn.SGD(parameters(), lr=1.0), v)
    ],
    "factor must be at least 0 and less than 1": [
        lambda v: nn.ReduceLROnPlateau(nn.SGD(parameters(), lr=1.0), factor=v)
    ],
    "max_lr must be a number of at least 0": [
        lambda v: nn.OneCycleLR(nn.SGD(parameters(), lr=1.0), v, 5)
    ],
    "weight_decay must be a number of at least 0": [
        lambda v: nn.AdamW(parameters(), weight_decay=v)
    ],
    "momentum must be a number of at least 0": [lambda v: nn.SGD(parameters(), lr=1.0, momentum=v)],
    "dampening must be a finite number": [lambda v: nn.SGD(parameters(), lr=1.0, dampening=v)],
    "gamma must be a number of at least 0": [
        lambda v: nn.StepLR(nn.SGD(parameters(), lr=1.0), 2, gamma=v)
    ],
    "eta_min must be a number of at least 0": [
        lambda v: nn.CosineAnnealingLR(nn.SGD(parameters(), lr=1.0), 2, eta_min=v)
    ],
    "tolerance must be a number of at least 0": [
        lambda v: nn.gradcheck(nn.ReLU(), X + 1, tolerance=v)
    ],
}
NO_NUMBERS = [
    10**400,
    -(10**400),
    np.longdouble("1e4000"),
    float("nan"),
    float("inf"),
    np.float16("inf"),
    True,
    np.True_,
    "1",
    np.array(0.5),
    1j,
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("message", TAKE_A_NUMBER)
def test_what_no_finite_float_holds_is_refused_with_the_usual_message(message, value):
    for call in TAKE_A_NUMBER[message]:
        with pytest.raises(ValueError, match=message):
            call(value)


@pytest.mark.parametrize(
    "value",
    [0.5, np.float16(0.5), np.float32(0.5), np.longdouble(0.5)],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("message", TAKE_A_NUMBER)
def test_a_float_of_any_width_is_taken_as_a_number(message, value):
    for call in TAKE_A_NUMBER[message]:
        call(value)


@pytest.mark.parametrize("value", [np.int8(0), np.uint64(1), 10**30])
def test_an_integer_that_a_float_holds_is_taken_as_a_number(value):
    for call in TAKE_A_NUMBER["eps must be a number of at least 0"]:
        call(value)


@pytest.mark.parametrize("value", NO_NUMBERS[:2], ids=["large", "small"])
def test_a_recorded_value_is_not_multiplied_with_a_number_that_no_float_holds(value):
    assert not _check.is_number(value)
    with pytest.raises(ValueError, match="multiply takes numbers that a float holds, got"):
        Scaled(value)(X)


def test_a_number_of_features_or_epochs_that_no_array_can_have_is_refused():
    for call in (
        lambda: nn.Linear(10**400, 2),
        lambda: bn.BatchNorm1d(10**30),
        lambda: nn.CosineAnnealingLR(nn.SGD(parameters(), lr=1.0), 10**400),
    ):
        with pytest.raises(ValueError, match="must be at most 9223372036854775807, got 1000"):
            call()


def test_a_bound_of_batch_renormalization_may_be_of_any_width():
    layer = bn.BatchNormalization(renorm=True, renorm_clipping={"dmax": np.longdouble(0.5)})
    expected = bn.BatchNormalization(renorm=True, renorm_clipping={"dmax": 0.5})
    np.testing.assert_array_equal(layer(X), expected(X))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: bn.normalize(np.eye(3), ONE, ONE, activation=v), "activation must be one of"),
        (lambda v: bn.commit(bn.stats(X), ONE, ONE, nonfinite=v), "nonfinite must be one of"),
        (bn.preset, "framework must be one of"),
        (lambda v: bn.BatchNorm1d(3, momentum=v), "momentum must be between 0 and 1"),
        (
            lambda v: bn.batch_norm_double_backward(
                None, None, None, np.eye(3), np.eye(3), ONE, ONE, order=v
            ),
            "order must be 2",
        ),
    ],
)
def test_an_array_in_the_place_of_a_word_or_a_number_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones(2))


def test_a_slope_that_is_no_number_is_refused_with_any_activation():
    with pytest.raises(ValueError, match="negative_slope must be a finite number, got 'steep'"):
        bn.normalize(np.eye(3), ONE, ONE, activation="relu", negative_slope="steep")


@pytest.mark.parametrize(
    "call",
    [
        bn.stats,
        bn.normalize_batch,
        nn.Softmax(),
        nn.Linear(2, 2),
        lambda x: nn.MSELoss()(x, np.ones((2, 2))),
    ],
)
def test_a_matrix_which_always_has_two_axes_is_refused(call):
    with pytest.raises(TypeError, match="must be a numpy array, got matrix"):
        call(np.ones((2, 2)).view(np.matrix))
