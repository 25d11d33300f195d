"""`bn.BatchNormalization` and Keras's have the same steps, options, states and errors."""

import inspect

import numpy as np
import pytest

import bn

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # Keras's get_weights causes it
]

LIMIT = 2e-5  # Keras computes in float32, whatever the layer's dtype


def pair(keras, shape, **options):
    """Make the same layer in Keras and here, with the same random state."""
    theirs = keras.layers.BatchNormalization(**options)
    theirs.build(shape)
    ours = bn.BatchNormalization(**options)
    ours(np.ones(shape, np.float32), training=False)
    rng = np.random.default_rng(3)
    state = {v.name: rng.random(v.shape).astype("f4") + 0.5 for v in theirs.weights}
    theirs.set_weights(list(state.values()))
    ours.load_state_dict(state)
    return theirs, ours


def batches(shape, n):
    rng = np.random.default_rng(0)
    for _ in range(n):
        yield (2 * rng.standard_normal(shape) + 1).astype(np.float32)


def side_by_side(theirs, ours, x, mask=None, *, limit=LIMIT, lr=0.1, **call):
    """Make one step of training in which outputs, gradients and states are alike."""
    import torch

    dy = np.random.default_rng(1).standard_normal(x.shape).astype(x.dtype)
    tx = torch.tensor(x, requires_grad=True)
    tmask = None if mask is None else torch.from_numpy(mask)
    for v in theirs.weights:
        v.value.grad = None
    ty = theirs(tx, mask=tmask, **call)
    (torch.sum(ty * torch.from_numpy(dy)) + sum(theirs.losses)).backward()
    ours.zero_grad()
    y = ours(x, mask=mask, **call)
    dx = ours.backward(dy)
    tolerance = {"rtol": limit, "atol": limit}
    np.testing.assert_allclose(y, ty.detach().numpy(), **tolerance)
    np.testing.assert_allclose(dx, tx.grad.numpy(), **tolerance)
    parameters = dict(ours.named_parameters())
    many = {"rtol": 10 * limit, "atol": limit * np.sqrt(x.size)}  # they are sums of as many numbers
    for v in theirs.weights:
        found = parameters[v.name].grad if v.name in parameters else None
        assert (found is None) == (v.value.grad is None), v.name
        if found is not None:
            np.testing.assert_allclose(found, v.value.grad.numpy(), err_msg=v.name, **many)
            v.assign(v.value - lr * v.value.grad)
            parameters[v.name].data -= lr * found
    assert_same_state(theirs, ours, **tolerance)


def assert_same_state(theirs, ours, **tolerance):
    state = ours.state_dict()
    assert list(state) == [v.name for v in theirs.weights]
    for v in theirs.weights:
        value = v.value.detach().numpy()
        np.testing.assert_allclose(state[v.name], value, err_msg=v.name, **tolerance)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"center": False},
        {"scale": False},
        {"center": False, "scale": False},
        {"momentum": 0.3, "epsilon": 0.1},
        {"momentum": 0.0},
        {"momentum": 1},
    ],
    ids=str,
)
def test_layers_train_and_evaluate_as_in_keras(keras, options):
    shape = (4, 5, 6, 3)
    theirs, ours = pair(keras, shape, **options)
    modes = (True, True, False, True, False)
    for training, x in zip(modes, batches(shape, 5), strict=True):
        side_by_side(theirs, ours, x, training=training)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, np.int64(1)])
@pytest.mark.parametrize("shape", [(6, 5, 4), (4, 5, 6, 3), (3, 2, 4, 2, 5)], ids=len)
def test_channels_on_any_axis_train_as_in_keras(keras, shape, axis):
    theirs, ours = pair(keras, shape, axis=axis)
    for training, x in zip((True, False), batches(shape, 2), strict=True):
        side_by_side(theirs, ours, x, training=training)


# ---- masks ----


def mask_of(shape, seed=4):
    """Return a mask that leaves a value to every channel, wherever the channels are."""
    mask = np.random.default_rng(seed).random(shape[:-1]) < 0.6
    mask[0] = True
    mask[..., 0] = True
    return mask


MASKED = [((8, 5), -1), ((6, 5, 4), -1), ((6, 5, 4), 1), ((6, 5, 4), 0), ((4, 5, 6, 3), 3)]
MASKED += [((4, 5, 6, 3), 1), ((4, 5, 6, 3), -2), ((3, 2, 4, 2, 5), -1)]


@pytest.mark.parametrize("renorm", [False, True], ids=["", "renorm"])
@pytest.mark.parametrize(("shape", "axis"), MASKED)
def test_masked_batches_train_as_in_keras(keras, shape, axis, renorm):
    theirs, ours = pair(keras, shape, axis=axis, renorm=renorm, momentum=0.5)
    modes = (True, True, False)
    for k, (training, x) in enumerate(zip(modes, batches(shape, 3), strict=True)):
        side_by_side(theirs, ours, x, mask_of(shape, k), training=training)


def test_a_mask_broadcasts_as_in_keras(keras):
    theirs, ours = pair(keras, (6, 5, 4))
    (x,) = batches((6, 5, 4), 1)
    for shape in ((6, 1), (1, 5)):
        mask = np.arange(sum(shape) - 1).reshape(shape) % 3 > 0
        side_by_side(theirs, ours, x, mask, training=True)


def test_one_value_left_by_a_mask_is_its_own_mean_as_in_keras(keras):
    theirs, ours = pair(keras, (6, 4), epsilon=0.1)
    (x,) = batches((6, 4), 1)
    side_by_side(theirs, ours, x, np.arange(6) == 2, training=True)


def test_masked_nan_reaches_no_statistic_as_in_keras_and_no_output_of_bn(keras):
    theirs, ours = pair(keras, (6, 5, 4))
    (x,) = batches((6, 5, 4), 1)
    mask = mask_of(x.shape)
    x[~mask] = np.nan
    y, expected = ours(x, True, mask), in_keras(theirs, x, training=True, mask=mask)
    assert_same_state(theirs, ours, rtol=LIMIT, atol=LIMIT)
    np.testing.assert_allclose(y[mask], expected[mask], rtol=LIMIT, atol=LIMIT)
    assert np.isnan(expected[~mask]).all() and np.isfinite(y).all()  # NaN reaches Keras's output


def in_keras(layer, x, mask=None, **call):
    import torch

    tmask = None if mask is None else torch.from_numpy(mask)
    return layer(torch.from_numpy(x), mask=tmask, **call).detach().numpy()


# ---- renorm ----

CLIPPING = [
    None,
    {},
    {"rmin": 0.8},
    {"rmax": 1.2},
    {"dmax": 0.3},
    {"rmin": 0.5, "rmax": 1.5},
    {"rmin": 1, "rmax": 1, "dmax": 0},
    {"rmin": 1 / 3, "rmax": 3, "dmax": 5},
    {"rmax": None, "dmax": 0.1},
]


@pytest.mark.parametrize("clipping", CLIPPING, ids=str)
def test_renorm_trains_as_in_keras(keras, clipping):
    options = {"renorm_momentum": 0.8, "momentum": 0.6}
    theirs, ours = pair(keras, (9, 4, 3), renorm=True, renorm_clipping=clipping, **options)
    modes = (True, True, True, False, True)
    for training, x in zip(modes, batches((9, 4, 3), 5), strict=True):
        side_by_side(theirs, ours, x, training=training)


@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"epsilon": 0.5}])
def test_renorm_trains_as_in_keras_with_every_option(keras, options, axis):
    shape, clipping = (6, 4, 3, 2), {"rmax": 1.1, "dmax": 0.2}
    options = {"axis": axis, "renorm_clipping": clipping, **options}
    theirs, ours = pair(keras, shape, renorm=True, **options)
    for x in batches(shape, 3):
        side_by_side(theirs, ours, x, training=True)


def test_small_deviations_of_renorm_are_those_of_keras(keras):
    """One below the root of epsilon is taken as that, and its variance as 0."""
    theirs, ours = pair(keras, (8, 3), renorm=True)
    small = np.array([1e-9, 0.0, 0.01])
    state = ours.state_dict() | {"renorm_stddev": small, "moving_stddev": small}
    theirs.set_weights(list(state.values()))
    ours.load_state_dict(state)
    for x in batches((8, 3), 2):
        side_by_side(theirs, ours, x, training=True)


def test_renorm_starts_from_the_initializers_as_in_keras(keras):
    options = {
        "renorm": True,
        "moving_mean_initializer": lambda shape, dtype=None: np.full(shape, 3.0, "f4"),
        "moving_variance_initializer": lambda shape, dtype=None: np.full(shape, 4.0, "f4"),
    }
    theirs, ours = keras.layers.BatchNormalization(**options), bn.BatchNormalization(**options)
    theirs.build((None, 3))
    ours.build((3,))
    assert_same_state(theirs, ours, rtol=0)


# ---- modes ----


@pytest.mark.parametrize("renorm", [False, True], ids=["", "renorm"])
@pytest.mark.parametrize("training", [True, False])
def test_a_layer_that_is_not_trainable_infers_and_keeps_its_state_as_in_keras(
    keras, training, renorm
):
    theirs, ours = pair(keras, (6, 4), renorm=renorm)
    before = ours.state_dict()
    xs = batches((6, 4), 3)
    for trainable in (False, True, False):
        theirs.trainable = ours.trainable = trainable
        side_by_side(theirs, ours, next(xs), training=training)
        if not trainable and before is not None:
            for name, array in ours.named_state():
                np.testing.assert_array_equal(array, before[name])
        before = None


def test_the_mode_of_a_call_leaves_the_mode_of_the_layer_alone(keras):
    """Keras infers where no mode is said; `bn` follows train() and eval()."""
    theirs, ours = pair(keras, (6, 4))
    first, second = batches((6, 4), 2)
    side_by_side(theirs, ours.eval(), first, training=True)
    np.testing.assert_allclose(ours(second), in_keras(theirs, second), atol=LIMIT)
    side_by_side(theirs, ours.train(), first, training=False)
    np.testing.assert_allclose(ours(second), in_keras(theirs, second, training=True), atol=LIMIT)
    assert_same_state(theirs, ours, atol=LIMIT)


# ---- regularizers, initializers, weights ----


@pytest.mark.parametrize("gamma", ["l1", "l2", (0.3, 0.2), None])
@pytest.mark.parametrize("beta", ["l2", (0.1, 0.0), None])
def test_regularizers_have_the_loss_and_gradient_of_keras(keras, gamma, beta):
    def of(kind, value):
        return kind(l1=value[0], l2=value[1]) if isinstance(value, tuple) else value

    pairs = []
    for layer, kind in (
        (keras.layers.BatchNormalization, keras.regularizers.L1L2),
        (bn.BatchNormalization, bn.Regularizer),
    ):
        options = {"gamma_regularizer": of(kind, gamma), "beta_regularizer": of(kind, beta)}
        pairs.append(layer(**options))
    theirs, ours = pairs
    theirs.build((6, 4))
    ours.build((4,))
    weights = [np.array([1.0, -2, 0, 3]), np.array([-1.0, 0, 2, 1]), np.zeros(4), np.ones(4)]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    for x in batches((6, 4), 3):
        side_by_side(theirs, ours, x, training=True)
        loss = float(sum(loss.detach() for loss in theirs.losses))
        np.testing.assert_allclose(ours.regularization_loss(), loss, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"renorm": True}, {"scale": False}, {"center": False}])
def test_weights_go_to_keras_and_back_in_their_order(keras, options):
    theirs, ours = pair(keras, (6, 4), **options)
    for x in batches((6, 4), 2):
        side_by_side(theirs, ours, x, training=True)
    ours.set_weights(theirs.get_weights())
    assert_same_state(theirs, ours, rtol=0)
    ours.set_weights([w + 1 for w in ours.get_weights()])
    theirs.set_weights(ours.get_weights())
    assert_same_state(theirs, ours, rtol=0)
    for wrong in (ours.get_weights()[:-1], [np.ones(3)] * len(ours.get_weights())):
        for layer in (theirs, ours):
            with pytest.raises(ValueError):
                layer.set_weights(wrong)


@pytest.mark.parametrize("value", ["zeros", "ones", "function", "Constant", "RandomUniform"])
def test_initializers_are_names_functions_and_kerass_own(keras, value):
    initializer = {
        "function": lambda shape, dtype=None: np.arange(shape[0], dtype="f4"),
        "Constant": keras.initializers.Constant(2.5),
        "RandomUniform": keras.initializers.RandomUniform(0, 1, seed=3),
    }.get(value, value)
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    options = {f"{name}_initializer": initializer for name in names}
    theirs, ours = keras.layers.BatchNormalization(**options), bn.BatchNormalization(**options)
    theirs.build((None, 5))
    ours.build((5,))
    assert_same_state(theirs, ours, rtol=0)


def test_defaults_and_the_order_of_arguments_are_those_of_keras(keras):
    kinds = keras.layers.BatchNormalization, bn.BatchNormalization
    theirs, ours = (inspect.signature(kind).parameters for kind in kinds)
    for name, parameter in ours.items():
        if name != "dtype":
            assert parameter.default == theirs[name].default, name
    positional = [n for n, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == list(theirs)[: len(positional)]
    theirs, ours = (
        inspect.signature(kind.call if i == 0 else kind.forward).parameters
        for i, kind in enumerate(kinds)
    )
    assert list(ours)[2:4] == list(theirs)[2:4] == ["training", "mask"]


# ---- errors ----

REFUSED_BY_BOTH = [
    {"renorm": True, "renorm_clipping": {"max": 3}},
    {"renorm": True, "renorm_clipping": {"rmax": 3, "dmin": 3}},
    {"renorm": True, "renorm_clipping": {"rmin": 3, "rmax": 1}},
    {"renorm": True, "renorm_clipping": {"dmax": -1}},
    {"gamma_initializer": "nope"},
    {"beta_initializer": 3},
    {"gamma_regularizer": "l3"},
    {"axis": [1]},
    {"axis": None},
    {"momentum": None},
    {"momentum": "0.9x"},
]
ALLOWED_BY_BOTH = [
    {"renorm_clipping": {"max": 3}},
    {"renorm": True, "renorm_clipping": {"rmax": 0.5}},
    {"epsilon": 0},
    {"gamma_regularizer": None},
]
REFUSED_HERE_ALONE = [
    {"momentum": 2},
    {"momentum": -1},
    {"epsilon": -1},
    {"renorm": True, "renorm_momentum": 2},
    {"renorm": True, "renorm_clipping": {"rmin": -1}},
    {"axis": 1.0},
    {"axis": "1"},
    {"dtype": "int32"},
]
CONSTRUCTIONS = [(o, True, True) for o in REFUSED_BY_BOTH]
CONSTRUCTIONS += [(o, False, False) for o in ALLOWED_BY_BOTH]
CONSTRUCTIONS += [(o, False, True) for o in REFUSED_HERE_ALONE]
CONSTRUCTIONS += [({"synchronized": True}, True, False)]  # of Keras's backends TensorFlow has it


@pytest.mark.parametrize(("options", "there", "here"), CONSTRUCTIONS, ids=str)
def test_constructors_refuse_what_keras_refuses_and_more(keras, options, there, here):
    for layer, refused in ((keras.layers.BatchNormalization, there), (bn.BatchNormalization, here)):
        if refused:
            with pytest.raises((ValueError, TypeError)):
                layer(**options)
        else:
            layer(**options)


def test_calls_refuse_what_keras_refuses(keras):
    x = np.ones((6, 5, 4), np.float32)
    theirs, ours = pair(keras, x.shape)
    sentence = "The mask provided should be one dimension less than the inputs"
    for shape in ((6,), (6, 5, 4)):
        for call in (lambda *a, **k: in_keras(theirs, *a, **k), ours):
            with pytest.raises(ValueError, match=sentence):
                call(x, training=True, mask=np.ones(shape, bool))
    refusals = (ValueError, RuntimeError, IndexError)
    for call in (lambda *a, **k: in_keras(theirs, *a, **k), ours):
        with pytest.raises(refusals):
            call(x, training=True, mask=np.ones((6, 4), bool))
        with pytest.raises(ValueError):
            call(x[..., :3], training=True)
    for axis in (3, -4):
        for layer in (keras.layers.BatchNormalization(axis), bn.BatchNormalization(axis)):
            call = layer if isinstance(layer, bn.Module) else lambda x, l=layer: in_keras(l, x)
            with pytest.raises(refusals):
                call(x)


# ---- differences on purpose ----


def test_a_single_value_is_an_error_in_bn_and_the_bias_in_keras(keras):
    theirs, ours = pair(keras, (1, 4))
    x, before = np.ones((1, 4), np.float32), ours.state_dict()
    np.testing.assert_array_equal(in_keras(theirs, x, training=True)[0], before["beta"])
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        ours(x, training=True)


@pytest.mark.parametrize("how", ["empty", "masked"])
def test_a_batch_without_values_changes_no_statistic_in_bn(keras, how):
    theirs, ours = pair(keras, (6, 4))
    x = np.ones((0 if how == "empty" else 6, 4), np.float32)
    mask = np.zeros(6, bool) if how == "masked" else None
    before = ours.state_dict()
    y, expected = (call(x, training=True, mask=mask) for call in (ours, in_keras_of(theirs)))
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    for name, array in ours.named_state():
        np.testing.assert_array_equal(array, before[name])
    after = theirs.get_weights()[2]
    assert np.isnan(after).all() if how == "empty" else (after < before["moving_mean"]).all()


def in_keras_of(layer):
    return lambda x, **call: in_keras(layer, x, **call)


def test_integers_are_an_error_in_bn(keras):
    theirs, ours = pair(keras, (6, 4))
    x = np.arange(24).reshape(6, 4)
    assert in_keras(theirs, x).dtype == np.float32
    with pytest.raises(TypeError, match="must be float16, bfloat16, float32 or float64"):
        ours(x)
