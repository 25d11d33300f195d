"""The layers: what the two families share, and each one's conventions."""

import copy
import pickle
import weakref

import numpy as np
import pytest
import reference
from gradcheck import gradcheck

import bn

INPUTS = {
    bn.BatchNorm1d: (6, 3, 5),
    bn.BatchNorm2d: (4, 3, 5, 2),
    bn.BatchNorm3d: (3, 3, 2, 4, 2),
}


def randomised(layer, rng, channels=3):
    """Parameters and statistics that no test can confuse with the initial ones."""
    for name, array in layer.named_state():
        if array.shape == (channels,):
            array[...] = rng.random(channels) + (0.5 if "var" in name else -0.5)
    return layer


def make(kind, rng, **options):
    if kind is bn.BatchNormalization:
        layer = kind(dtype=np.float64, **options)
        layer.build((4, 3))
    else:
        layer = kind(3, dtype=np.float64, **options)
    return randomised(layer, rng)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", INPUTS)
def test_gradients_of_every_torch_layer(kind, training, rng):
    for options in ({}, {"affine": False}, {"bias": False}, {"track_running_stats": False}):
        layer = make(kind, rng, **options).train(training)
        gradcheck(layer, rng.standard_normal(INPUTS[kind]))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_gradients_of_the_keras_layer(axis, training, rng):
    for options in ({}, {"center": False}, {"scale": False}):
        layer = bn.BatchNormalization(axis=axis, dtype=np.float64, **options)
        layer.build((3, 3, 3))
        randomised(layer, rng).train(training)
        gradcheck(layer, rng.standard_normal((2, 3, 3, 3)))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_gradients_with_the_channels_on_any_axis(axis, rng):
    layer = make(bn.BatchNorm1d, rng, axis=axis)
    shape = [5, 4, 6]
    shape[axis] = 3
    gradcheck(layer, rng.standard_normal(shape))


@pytest.mark.parametrize("kind", INPUTS)
def test_a_fresh_layer_starts_as_pytorchs(kind):
    layer = kind(3)
    assert (layer.weight.data == 1).all()
    assert (layer.bias.data == 0).all()
    assert (layer.running_mean == 0).all()
    assert (layer.running_var == 1).all()
    assert layer.num_batches_tracked == 0
    assert (layer.eps, layer.momentum, layer.axis) == (1e-5, 0.1, 1)
    state = layer.state_dict()
    assert list(state) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert {a.dtype for n, a in state.items() if n != "num_batches_tracked"} == {np.dtype("f4")}
    assert state["num_batches_tracked"].dtype == np.int64


def test_a_fresh_keras_layer_starts_as_kerass():
    layer = bn.BatchNormalization()
    layer.build((3,))
    assert (layer.axis, layer.momentum, layer.epsilon) == (-1, 0.99, 1e-3)
    state = layer.state_dict()
    assert list(state) == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert [float(a[0]) for a in state.values()] == [1, 0, 0, 1]


def test_torch_momentum_is_the_weight_of_the_new_value_and_the_variance_unbiased(rng):
    layer, x = bn.BatchNorm2d(3, momentum=0.3), rng.standard_normal((4, 3, 5, 5), dtype=np.float32)
    layer(x)
    np.testing.assert_allclose(layer.running_mean, 0.3 * x.mean((0, 2, 3)), rtol=1e-4, atol=1e-7)
    var = 0.7 + 0.3 * x.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-6)
    assert layer.num_batches_tracked == 1


def test_keras_momentum_is_the_weight_of_the_old_value_and_the_variance_biased(rng):
    layer, x = bn.BatchNormalization(momentum=0.7), rng.standard_normal((4, 5, 3)).astype("f4")
    layer(x)
    np.testing.assert_allclose(layer.moving_mean, 0.3 * x.mean((0, 1)), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(layer.moving_variance, 0.7 + 0.3 * x.var((0, 1)), rtol=1e-6)


def test_momentum_none_is_the_average_of_all_batches(rng):
    layer = bn.BatchNorm1d(2, momentum=None, dtype=np.float64)
    batches = [rng.standard_normal((n, 2)) for n in (4, 9, 3)]
    for x in batches:
        layer(x)
    np.testing.assert_allclose(layer.running_mean, np.mean([x.mean(0) for x in batches], axis=0))
    np.testing.assert_allclose(
        layer.running_var, np.mean([x.var(0, ddof=1) for x in batches], axis=0)
    )


def test_pytorchs_documented_eps_and_keras_documented_epsilon_count(rng):
    x = (1e-3 * rng.standard_normal((50, 2))).astype(np.float32)
    for layer, eps in ((bn.BatchNorm1d(2), 1e-5), (bn.BatchNormalization(), 1e-3)):
        y = layer(x)
        np.testing.assert_allclose(y.var(0), x.var(0) / (x.var(0) + eps), rtol=1e-4)


def test_eval_uses_the_running_statistics_and_leaves_them_alone(rng):
    layer = make(bn.BatchNorm2d, rng).eval()
    before, x = layer.state_dict(), rng.standard_normal((2, 3, 4, 4))
    expected = reference.forward(
        x, layer.weight, layer.bias, mean=layer.running_mean, var=layer.running_var
    )
    np.testing.assert_allclose(layer(x), expected, atol=1e-12)
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_without_running_statistics_eval_uses_the_batch(rng):
    layer, x = bn.BatchNorm1d(3, track_running_stats=False), rng.standard_normal((9, 3))
    assert layer.running_mean is None and layer.num_batches_tracked is None
    np.testing.assert_array_equal(layer.train()(x), layer.eval()(x))
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_tracking_switched_off_later_keeps_the_statistics_for_eval(rng):
    layer, x = make(bn.BatchNorm1d, rng), rng.standard_normal((6, 3))
    layer.track_running_stats = False
    before = layer.state_dict()
    y = layer(x)
    np.testing.assert_allclose(y, reference.forward(x, layer.weight, layer.bias), atol=1e-12)
    assert all((before[n] == a).all() for n, a in layer.named_state())
    assert not np.allclose(layer.eval()(x), y)


def test_the_functional_form_is_the_layer(rng):
    x = rng.standard_normal((4, 3, 5, 5)).astype(np.float32)
    layer = bn.BatchNorm2d(3)
    mean, var = np.zeros(3, np.float32), np.ones(3, np.float32)
    for training in (True, False):
        y = bn.batch_norm(x, mean, var, layer.weight.data, layer.bias.data, training)
        np.testing.assert_array_equal(layer.train(training)(x), y)
        np.testing.assert_array_equal(layer.running_mean, mean)
        np.testing.assert_array_equal(layer.running_var, var)


def test_the_functional_form_without_running_statistics_trains(rng):
    x = rng.standard_normal((7, 3))
    y = bn.batch_norm(x, None, None, training=True)
    np.testing.assert_allclose(y, reference.forward(x, np.ones(3), np.zeros(3)), atol=1e-12)


def test_the_functional_form_takes_any_finite_momentum(rng):
    x, mean, var = rng.standard_normal((7, 1)), np.zeros(1), np.ones(1)
    bn.batch_norm(x, mean, var, training=True, momentum=-1.2)
    np.testing.assert_allclose(mean, -1.2 * x.mean(0))


def test_x_of_float64_through_a_layer_of_float32_stays_float64(rng):
    layer, x = bn.BatchNorm1d(3), rng.standard_normal((5, 3))
    y = layer(x)
    assert y.dtype == layer.backward(y).dtype == np.float64
    assert layer.weight.grad.dtype == layer.running_mean.dtype == np.float32


def test_an_empty_batch_comes_back_empty_and_leaves_the_statistics_alone():
    for layer, x in (
        (bn.BatchNorm2d(3), np.empty((0, 3, 4, 4), np.float32)),
        (bn.BatchNormalization(), np.empty((0, 4, 3), np.float32)),
    ):
        y = layer(x)
        assert y.shape == x.shape
        assert layer.backward(y).shape == x.shape
        assert not layer.weight.grad.any() and not layer.bias.grad.any()
        assert not layer.running_mean.any() and (layer.running_var == 1).all()
        assert getattr(layer, "num_batches_tracked", 0) == 0


def test_a_channel_without_variance_is_the_bias_and_has_finite_gradients():
    layer = bn.BatchNorm1d(2)
    layer.bias.data[...] = 0.1, -7
    y = layer(np.full((4, 2), 0.1, np.float32))
    assert (y == layer.bias.data).all()
    assert np.isfinite(layer.backward(np.ones_like(y))).all()


def test_gradients_accumulate_until_they_are_forgotten(rng):
    layer, x = bn.BatchNorm1d(3, dtype=np.float64), rng.standard_normal((5, 3))
    layer(x)
    layer.backward(x)
    once = layer.weight.grad.copy()
    layer(x)
    layer.backward(x)
    np.testing.assert_array_equal(layer.weight.grad, 2 * once)
    layer.zero_grad()
    assert layer.weight.grad is layer.bias.grad is None


def test_between_forward_and_backward_a_layer_keeps_x_and_little_else(rng):
    x = rng.standard_normal((64, 3, 32, 32)).astype(np.float32)
    layer = bn.BatchNorm2d(3)
    y = layer(x)
    *_, (call,) = layer._kept
    assert call.x is x
    assert sum(a.nbytes for a in vars(call.batch).values()) <= 4 * 3 * 8
    gone = weakref.ref(y)
    del y
    assert gone() is None
    layer.backward(x)
    assert layer._kept is None


def test_eval_statistics_are_those_of_the_forward_pass(rng):
    layer, x = make(bn.BatchNorm1d, rng).eval(), rng.standard_normal((5, 3))
    layer(x)
    expected = layer.weight.data / np.sqrt(layer.running_var + layer.eps)
    layer.running_var[...] = 100
    np.testing.assert_allclose(layer.backward(np.ones_like(x))[0], expected)


def test_a_parameter_is_an_array_to_numpy():
    layer = bn.BatchNorm1d(2)
    assert np.asarray(layer.weight).tolist() == [1, 1]
    assert np.asarray(layer.weight) is layer.weight.data
    assert np.array(layer.weight) is not layer.weight.data
    assert np.asarray(layer.weight, np.float64).dtype == np.float64
    assert [p.shape for p in layer.parameters()] == [(2,), (2,)]


def test_a_state_goes_round(rng):
    layer = make(bn.BatchNorm1d, rng)
    layer(rng.standard_normal((5, 3)))
    other = bn.BatchNorm1d(3, dtype=np.float64)
    assert other.load_state_dict(layer.state_dict()) is other
    assert all((a == layer.state_dict()[n]).all() for n, a in other.named_state())


def test_a_state_dict_is_a_copy(rng):
    layer = bn.BatchNorm1d(3)
    state = layer.state_dict()
    layer(rng.standard_normal((5, 3)))
    assert (state["running_mean"] == 0).all()


def test_an_old_checkpoint_without_num_batches_tracked_loads():
    state = bn.BatchNorm1d(3).state_dict()
    del state["num_batches_tracked"]
    bn.BatchNorm1d(3).load_state_dict(state)


def test_layers_copy_and_pickle(rng):
    layer, x = make(bn.BatchNorm1d, rng), rng.standard_normal((5, 3))
    layer(x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(other.eval()(x), layer.eval()(x))


def test_keras_initializers_are_names_or_functions():
    layer = bn.BatchNormalization(
        gamma_initializer=lambda shape, dtype: np.full(shape, 3, dtype),
        beta_initializer="ones",
        moving_mean_initializer="ones",
        moving_variance_initializer="zeros",
    )
    layer.build((5,))
    state = layer.state_dict()
    assert [float(a[0]) for a in state.values()] == [3, 1, 1, 0]


def test_keras_parameters_answer_to_keras_names(rng):
    layer, x = bn.BatchNormalization(dtype=np.float64), rng.standard_normal((5, 3))
    layer(x)
    layer.backward(x)
    assert layer.gamma is layer.weight and layer.beta is layer.bias
    assert layer.moving_mean is layer.running_mean
    assert layer.moving_variance is layer.running_var
    np.testing.assert_allclose(layer.beta.grad, x.sum(0))


def test_reprs_read_like_their_frameworks():
    assert repr(bn.BatchNorm2d(16)) == (
        "BatchNorm2d(16, eps=1e-05, momentum=0.1 (new), running_var=unbiased, affine=True, "
        "bias=True, track_running_stats=True)"
    )
    assert repr(bn.BatchNorm1d(4, momentum=None, axis=-1)).endswith("=True, axis=-1)")
    assert "epsilon=0.001" in repr(bn.BatchNormalization())
