"""`get_weights` and `set_weights` of models have Keras's order, and set all or nothing."""

import numpy as np
import pytest
from arrays import normal, same_state, state

import bn
from bn import nn


class Net(nn.Module):
    """A layer of its own parameter, a list, and one layer in two places."""

    def __init__(self):
        self.conv = nn.Conv2d(3, 2, (1, 3), rng=0)
        self.norm = bn.BatchNorm2d(2)
        self.blocks = nn.ModuleList([nn.Linear(4, 5, rng=0), bn.BatchNormalization()])
        self.again = self.blocks[0]
        self.scale = nn.Parameter(np.ones(7, np.float32))
        self.blocks[1].build((5,))


SHAPES = [
    (7,),  # a model's own parameters come before those of its layers
    (2, 3, 1, 3),
    (2,),
    *[(2,)] * 4,
    (5, 4),
    (5,),
    *[(5,)] * 4,
]


def numbered(model):
    """Return arrays for `set_weights` of which each has its own number."""
    return [
        np.full(array.shape, i + 1.0, array.dtype) for i, array in enumerate(model.get_weights())
    ]


def test_weights_come_layer_by_layer_parameters_first_and_each_once():
    model = Net()
    assert [array.shape for array in model.get_weights()] == SHAPES
    model.set_weights(numbered(model))
    found = {name: array.flat[0] for name, array in model.named_state()}
    assert found == {
        "scale": 1,
        "conv.weight": 2,
        "conv.bias": 3,
        "norm.weight": 4,
        "norm.bias": 5,
        "norm.running_mean": 6,
        "norm.running_var": 7,
        "norm.num_batches_tracked": 0,
        "blocks.0.weight": 8,
        "blocks.0.bias": 9,
        "blocks.1.gamma": 10,
        "blocks.1.beta": 11,
        "blocks.1.moving_mean": 12,
        "blocks.1.moving_variance": 13,
        "again.weight": 8,
        "again.bias": 9,
    }


def test_weights_are_copies_and_are_copied_in():
    model = nn.Sequential(nn.Linear(3, 2, rng=0), bn.BatchNorm1d(2))
    parameter = model[0].weight
    array, before = parameter.data, state(model)
    for copied in model.get_weights():
        copied[...] = 7
    assert same_state(state(model), before)
    weights = numbered(model)
    assert model.set_weights(weights) is None
    weights[0][...] = 9
    assert model[0].weight is parameter and parameter.data is array and (array == 1).all()


def test_weights_are_cast_and_the_number_of_batches_stays():
    model = nn.Sequential(bn.BatchNorm1d(2))
    model(normal(20, 2, dtype=np.float32))
    model.set_weights([[1, 2], [3, 4], np.array([5.0, 6.0]), np.array([7, 8])])
    assert [a.dtype for a in model.get_weights()] == [np.float32] * 4
    np.testing.assert_array_equal(model.get_weights(), [[1, 2], [3, 4], [5, 6], [7, 8]])
    assert model[0].num_batches_tracked == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda w: w[:-1], ValueError, "weights must be the 13 arrays of get_weights, got 12"),
        (lambda w: [*w, w[0]], ValueError, "weights must be the 13 arrays of get_weights, got 14"),
        (
            lambda w: [*w[:-1], w[-1][1:]],
            ValueError,
            r"variance must have shape \(5,\), got",
        ),
        (lambda w: [*w[:-1], w[-1].astype(str)], TypeError, "moving_variance must hold numbers"),
        (lambda w: [*w[:-1], w[-1] + 1e50], ValueError, "hold numbers that fit float32, got 1e"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(change, error, message):
    model = Net()
    before = state(model)
    weights = [array.astype(np.float64) for array in numbered(model)]
    with pytest.raises(error, match=message):
        model.set_weights(change(weights))
    assert same_state(state(model), before)


def test_a_layer_that_is_not_built_has_no_weights_yet():
    model = nn.Sequential(bn.BatchNormalization())
    for use in (model.get_weights, lambda: model.set_weights([])):
        with pytest.raises(RuntimeError, match="must be built before"):
            use()


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_the_weights_of_a_model_go_to_keras_and_back(keras):
    layers = keras.layers
    theirs = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, (3, 2)),
            layers.BatchNormalization(),
            keras.Sequential([layers.Activation("relu"), layers.Conv2D(5, 1, use_bias=False)]),
            layers.BatchNormalization(center=False),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    theirs.build((None, 6, 6, 3))
    ours = nn.Sequential(
        nn.Conv2d(3, 4, (3, 2), axis=-1),
        bn.BatchNormalization(),
        nn.Sequential(nn.ReLU(), nn.Conv2d(4, 5, 1, bias=False, axis=-1)),
        bn.BatchNormalization(center=False),
        nn.Flatten(),
        nn.Linear(100, 2),
    )
    ours.build((6, 6, 3))
    rng = np.random.default_rng(0)
    weights = [rng.random(np.shape(w)).astype(np.float32) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    turned = {4: lambda w: w.transpose(3, 2, 0, 1), 2: lambda w: w.T, 1: lambda w: w}
    ours.set_weights([turned[w.ndim](w) for w in weights])
    x = rng.standard_normal((3, 6, 6, 3)).astype(np.float32)
    expected = theirs(x, training=False).detach().numpy()
    np.testing.assert_allclose(ours.eval()(x), expected, rtol=1e-4)


@pytest.mark.parametrize("layer", [nn.Linear(2, 2), nn.Conv2d(2, 2, 1)])
def test_an_array_in_the_place_of_a_parameter_is_refused(layer):
    before = layer.weight
    with pytest.raises(TypeError, match=r"weight of .* must be a Parameter or None, got ndarray"):
        layer.weight = np.ones((2, 2))
    assert layer.weight is before


@pytest.mark.parametrize("layer", [nn.Linear(2, 2), bn.BatchNorm1d(2), nn.Sequential()])
def test_trainable_is_true_or_false(layer):
    with pytest.raises(TypeError, match="trainable must be True or False, got 'no'"):
        layer.trainable = "no"
