"""Every argument that is True or False is asked for as such: an array in its place is refused."""

import re

import numpy as np
import pytest

import bn
from bn import nn

X, ONE = np.arange(12.0).reshape(4, 3), np.ones(3)
IMAGES = np.ones((1, 2, 4, 4))


def ran(layer, x):
    """Return a layer whose forward has run, so that its backward may follow."""
    layer(x)
    return layer


class Mean(nn.Module):
    """A model that takes the mean of all values, and keeps their axes or not."""

    def __init__(self, keepdims):
        self.relu, self.keepdims = nn.ReLU(), keepdims

    def forward(self, x):
        return self.relu(x).mean(keepdims=self.keepdims)


def fit(**options):
    """Train a small model for an epoch."""
    return nn.fit(nn.Linear(3, 2, dtype=np.float64), (X, np.arange(4) % 2), epochs=1, **options)


FLAGS = {  # by name, the calls that take one
    "training": [
        lambda v: bn.batch_norm(X, ONE.copy(), ONE.copy(), training=v),
        lambda v: bn.batch_norm_double_backward(None, None, None, X, X, ONE, ONE, training=v),
        lambda v: bn.BatchNorm1d(3)(X, training=v),
        lambda v: bn.BatchNormalization()(X, training=v),
        lambda v: bn.preset("keras", 3)(X, training=v),
        lambda v: bn.GhostBatchNorm(bn.BatchNorm1d(3), 2)(X, training=v),
        lambda v: bn.BatchNorm1d(3).observe(bn.stats(X), v),
        lambda v: nn.Dropout()(X, training=v),
        lambda v: nn.LSTM(3, 2)(X[None], training=v),
        lambda v: nn.Dropout2d()(IMAGES, training=v),
        lambda v: nn.Sequential(nn.Linear(3, 2), nn.Dropout())(X, training=v),
        lambda v: nn.Sequential(nn.Linear(3, 2), bn.BatchNorm1d(2))(X, training=v),
    ],
    "mode": [
        lambda v: nn.Sequential(nn.ReLU()).train(v),
        bn.check_inputs,
        nn.winograd,
    ],
    "trainable": [lambda v: setattr(nn.Linear(3, 2), "trainable", v)],
    "unbiased": [lambda v: bn.commit(bn.stats(X), ONE.copy(), ONE.copy(), unbiased=v)],
    "use_batch_stats": [lambda v: bn.freeze(bn.BatchNorm1d(3), use_batch_stats=v)],
    "update_stats": [lambda v: bn.freeze(bn.BatchNorm1d(3), update_stats=v)],
    "train_affine": [lambda v: bn.freeze(bn.BatchNorm1d(3), train_affine=v)],
    "affine": [lambda v: bn.BatchNorm1d(3, affine=v)],
    "track_running_stats": [lambda v: bn.BatchNorm2d(3, track_running_stats=v)],
    "bias": [
        lambda v: bn.BatchNorm1d(3, bias=v),
        lambda v: nn.Linear(3, 2, bias=v),
        lambda v: nn.Conv2d(2, 3, 1, bias=v),
    ],
    "center": [
        lambda v: bn.BatchNormalization(center=v),
        lambda v: bn.preset("flax", center=v),
        lambda v: bn.BatchNorm(bn.RunningStats(), None, 1e-5, 1, center=v),
    ],
    "scale": [
        lambda v: bn.BatchNormalization(scale=v),
        lambda v: bn.preset("flax", scale=v),
        lambda v: bn.BatchNorm(bn.RunningStats(), None, 1e-5, 1, scale=v),
    ],
    "tracked": [lambda v: bn.BatchNorm(bn.RunningStats(), None, 1e-5, 1, tracked=v)],
    "renorm": [lambda v: bn.BatchNormalization(renorm=v)],
    "synchronized": [lambda v: bn.BatchNormalization(synchronized=v)],
    "inplace": [
        nn.SiLU,
        nn.Hardswish,
        lambda v: nn.ELU(inplace=v),
        nn.ReLU,
        lambda v: nn.LeakyReLU(inplace=v),
        lambda v: nn.Dropout(inplace=v),
    ],
    "count_include_pad": [
        lambda v: nn.AvgPool2d(2, count_include_pad=v),
        lambda v: nn.AvgPool1d(2, count_include_pad=v),
    ],
    "ceil_mode": [lambda v: nn.MaxPool2d(2, ceil_mode=v)],
    "from_logits": [lambda v: nn.CrossEntropyLoss(from_logits=v)],
    "nesterov": [lambda v: nn.SGD([nn.Parameter(ONE)], lr=1.0, momentum=0.5, nesterov=v)],
    "centered": [lambda v: nn.RMSprop([nn.Parameter(ONE)], centered=v)],
    "error_if_nonfinite": [
        lambda v: nn.clip_grad_norm([nn.Parameter(ONE)], 1.0, error_if_nonfinite=v)
    ],
    "cycle_momentum": [
        lambda v: nn.OneCycleLR(nn.SGD([nn.Parameter(ONE)], 1.0), 1.0, 5, cycle_momentum=v)
    ],
    "three_phase": [
        lambda v: nn.OneCycleLR(nn.SGD([nn.Parameter(ONE)], 1.0), 1.0, 5, three_phase=v)
    ],
    "flatten": [lambda v: nn.Linear(None, 2)(IMAGES, flatten=v)],
    "input_grad": [
        lambda v: ran(nn.Linear(3, 2), X).backward(np.ones((4, 2)), input_grad=v),
        lambda v: ran(nn.Conv2d(2, 1, 4), IMAGES).backward(np.ones((1, 1, 1, 1)), input_grad=v),
        lambda v: ran(nn.Sequential(nn.ReLU()), X).backward(X, input_grad=v),
        lambda v: ran(nn.GRU(3, 3, return_state=False), X[None]).backward(X[None], input_grad=v),
    ],
    "keepdims": [lambda v: Mean(v)(X)],
    "costs": [lambda v: nn.Linear(3, 2).summary((3,), costs=v)],
    "set_to_none": [lambda v: nn.Linear(3, 2).zero_grad(v)],
    "remove_duplicate": [lambda v: list(nn.ReLU().named_modules(remove_duplicate=v))],
    "shuffle": [lambda v: nn.BatchLoader(X, ONE.repeat(4)[:4], 2, shuffle=v)],
    "drop_last": [lambda v: nn.BatchLoader(X, ONE.repeat(4)[:4], 2, drop_last=v)],
    "progress": [lambda v: fit(progress=v)],
    "copy": [lambda v: nn.Parameter(ONE).accumulate(ONE, copy=v)],
}


@pytest.mark.parametrize("value", [np.ones(3), np.array(True), 2, "yes", [True]], ids=repr)
@pytest.mark.parametrize("name", FLAGS)
def test_what_is_neither_true_nor_false_is_refused_by_name(name, value):
    message = rf"{name} must be True(, False)? or (False|None), got {re.escape(repr(value))}"
    for call in FLAGS[name]:
        with pytest.raises(TypeError, match=message):
            call(value)


@pytest.mark.parametrize("name", FLAGS)
def test_a_bool_of_python_or_numpy_is_taken(name):
    for value in (True, False, np.True_, np.False_):
        for call in FLAGS[name]:
            call(value)


def test_a_backward_that_refused_its_flag_may_be_called_again():
    for layer, x in ((nn.Linear(3, 3), X), (nn.Sequential(nn.ReLU()), X)):
        layer(x)
        with pytest.raises(TypeError, match="input_grad"):
            layer.backward(x, input_grad=np.ones(2))
        assert layer.backward(x, input_grad=True).shape == x.shape
