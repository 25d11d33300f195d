"""Bad input raises a sentence that says what was expected and what came, and changes nothing."""

import numpy as np
import pytest
from arrays import same_state, state

import bn
from bn import nn

X = np.ones((4, 3, 5, 5), np.float32)
ONE = np.ones(3, np.float32)


BAD_CALLS = [
    # x and axis
    ("x must be a numpy array, got list", lambda: bn.stats([[1.0]])),
    ("x must be float16, .* or float64, got int64", lambda: bn.stats(np.ones((2, 2), np.int64))),
    ("x must be float16, .* or float64, got object", lambda: bn.stats(np.ones((2, 2), object))),
    ("x must be float16, .* or float64, got >f4", lambda: bn.stats(np.ones((2, 2), ">f4"))),
    (
        "x must be float16, bfloat16, float32 or float64, got complex64",
        lambda: bn.stats(np.ones((2, 2), "c8")),
    ),
    (r"x must have at least 2 axes, got shape \(3,\)", lambda: bn.stats(ONE)),
    ("axis must be between -4 and 3, got 4", lambda: bn.stats(X, axis=4)),
    ("axis must be an integer, got 1.0", lambda: bn.stats(X, axis=1.0)),
    # per-channel arguments
    (r"weight must have shape \(3,\), got \(4,\)", lambda: bn.normalize(X, ONE, ONE, np.ones(4))),
    (
        r"bias must have shape \(3,\), got \(1,\)",
        lambda: bn.normalize(X, ONE, ONE, ONE, np.ones(1)),
    ),
    (r"mean must have shape \(3,\), got \(3, 1\)", lambda: bn.normalize(X, np.ones((3, 1)), ONE)),
    ("var must be float32 or float64, got int64", lambda: bn.normalize(X, ONE, np.ones(3, int))),
    ("running_mean should contain 3 elements not 2", lambda: bn.batch_norm(X, np.ones(2), ONE)),
    ("running_mean and running_var must either both be None", lambda: bn.batch_norm(X, ONE, None)),
    ("running_mean must be defined in evaluation mode", lambda: bn.batch_norm(X, None, None)),
    # numbers
    (
        "eps must be a number of at least 0, got -1e-05",
        lambda: bn.normalize(X, ONE, ONE, eps=-1e-5),
    ),
    (
        "eps must be a number of at least 0, got nan",
        lambda: bn.normalize(X, ONE, ONE, eps=float("nan")),
    ),
    (
        "momentum must be a finite number, got None",
        lambda: bn.batch_norm(X, ONE, ONE, momentum=None),
    ),
    ("momentum must be between 0 and 1, got 1.5", lambda: bn.BatchNorm2d(3, momentum=1.5)),
    ("momentum must be between 0 and 1, got -0.1", lambda: bn.BatchNormalization(momentum=-0.1)),
    ("eps must be a number of at least 0, got -1", lambda: bn.BatchNorm2d(3, eps=-1)),
    ("epsilon must be a number of at least 0, got '1'", lambda: bn.BatchNormalization(epsilon="1")),
    ("num_features must be a positive integer, got 0", lambda: bn.BatchNorm2d(0)),
    ("num_features must be a positive integer, got 2.0", lambda: bn.BatchNorm2d(2.0)),
    ("dtype must be float32 or float64, got int64", lambda: bn.BatchNorm2d(3, dtype=np.int64)),
    ("n must be a positive integer, got 0", lambda: bn.set_num_threads(0)),
    ("n must be a positive integer, got True", lambda: bn.set_num_threads(True)),
    # out and dy
    (
        r"out must have shape \(4, 3, 5, 5\), got \(4, 3\)",
        lambda: bn.normalize(X, ONE, ONE, out=np.ones((4, 3), np.float32)),
    ),
    (
        "out must be float32, as x, got float64",
        lambda: bn.normalize(X, ONE, ONE, out=np.ones(X.shape)),
    ),
    ("out must be a numpy array, got list", lambda: bn.normalize(X, ONE, ONE, out=[])),
    (
        "out must be writeable, got a read-only array",
        lambda: bn.normalize(X, ONE, ONE, out=np.broadcast_to(np.float32(1), X.shape)),
    ),
    (r"dy must have shape \(4, 3, 5, 5\), got \(3,\)", lambda: bn.backward_reduce(ONE, X, ONE)),
    (
        "dy must be float32, as x, got float64",
        lambda: bn.backward_apply(np.ones(X.shape), X, ONE, ONE),
    ),
    # values of other functions
    (
        "sums must be one or more BackwardSums, all of one kind, got Stats",
        lambda: bn.backward_apply(X, X, ONE, ONE, sums=bn.stats(X)),
    ),
    ("parts must be one or more Stats or BackwardSums.*, got nothing", lambda: bn.merge([])),
    (
        "parts must be .* all of one kind, got BackwardSums, Stats",
        lambda: bn.merge([bn.stats(X), bn.backward_reduce(X, X, ONE)]),
    ),
    (
        r"each part must have shape \(3,\), got \(5,\)",
        lambda: bn.merge([bn.stats(X), bn.stats(X, axis=2)]),
    ),
    (
        "batch must be one or more Stats, all of one kind, got tuple",
        lambda: bn.commit((1, 2, 3), ONE.copy(), ONE.copy()),
    ),
    (
        "batch must be one or more Stats, .* got BackwardSums",
        lambda: bn.backward_batch(X, X, bn.backward_reduce(X, X, ONE)),
    ),
    (
        "Stats.m2 must be a float64 array of shape .C,., got float32 of shape .3,.",
        lambda: bn.Stats(ONE.astype("f8"), ONE.astype("f8"), ONE),
    ),
    (
        "BackwardSums.dy must be a float64 array .* got NoneType",
        lambda: bn.BackwardSums(ONE.astype("f8"), None, ONE.astype("f8")),
    ),
    (
        "the arrays of Stats must have one length, got count 3, mean 1, m2 3",
        lambda: bn.Stats(np.ones(3), np.ones(1), np.ones(3)),
    ),
    (
        "Stats.mean must have no mask, got a MaskedArray",
        lambda: bn.Stats(np.ones(3), np.ma.ones(3), np.ones(3)),
    ),
    (
        "BackwardSums.count must have no mask, got a MaskedArray",
        lambda: bn.BackwardSums(np.ma.ones(3), np.ones(3), np.ones(3)),
    ),
    (
        r"Stats.count must be at least 0 and less than 2\*\*53, got -1$",
        lambda: bn.Stats(np.array([2.0, -1.0, 3.0]), np.ones(3), np.ones(3)),
    ),
    (
        r"Stats.count must be at least 0 and less than 2\*\*53, got nan",
        lambda: bn.Stats(np.array([2.0, np.nan, 3.0]), np.ones(3), np.ones(3)),
    ),
    (
        r"BackwardSums.count must be at least 0 and less than 2\*\*53, got inf",
        lambda: bn.BackwardSums(np.full(3, np.inf), np.ones(3), np.ones(3)),
    ),
    (
        r"Stats.count must be at least 0 and less than 2\*\*53, got 9007199254740992",
        lambda: bn.Stats(np.full(3, 2.0**53), np.ones(3), np.ones(3)),
    ),
    (
        "Stats.m2 must be at least 0, or NaN for values that are not finite, got -1.0",
        lambda: bn.Stats(np.ones(3), np.ones(3), np.array([0.0, -1.0, np.nan])),
    ),
    (
        "weights must be finite and at least 0, got less, inf or NaN",
        lambda: bn.stats(X, weights=-np.ones(X.shape)),
    ),
    ("x must have no mask, got a MaskedArray", lambda: bn.stats(np.ma.ones((2, 2)))),
    ("n must be at most 1024 threads, got 10000000000", lambda: bn.set_num_threads(10**10)),
    ("running_mean must be defined", lambda: bn.commit(bn.stats(X), None, None)),
    # layers
    (r"BatchNorm2d: expected 4D input \(got 3D input\)", lambda: bn.BatchNorm2d(3)(X[0])),
    (r"expected 2D or 3D input \(got 4D input\)", lambda: bn.BatchNorm1d(3)(X)),
    (r"expected 5D input \(got 4D input\)", lambda: bn.BatchNorm3d(3)(X)),
    ("BatchNorm2d takes 4 channels on axis 1, got shape", lambda: bn.BatchNorm2d(4)(X)),
    (
        "Expected more than 1 value per channel when training, got input size",
        lambda: bn.BatchNorm1d(3)(np.ones((1, 3))),
    ),
    (
        "Expected more than 1 value per channel",
        lambda: bn.batch_norm(np.ones((1, 3, 1)), None, None, training=True),
    ),
    (
        "gamma_initializer must be callable or one of zeros, ones, Zeros, Ones, got 'one'",
        lambda: bn.BatchNormalization(gamma_initializer="one"),
    ),
    (
        r"gamma_initializer's result must have shape \(3,\), got \(2,\)",
        lambda: bn.BatchNormalization(gamma_initializer=lambda shape, dtype: np.ones(2))(
            np.ones((5, 3))
        ),
    ),
    ("BatchNormalization must be built before", lambda: bn.BatchNormalization().parameters()),
    ("input_shape must be a tuple of integers, got 3", lambda: bn.BatchNormalization().build(3)),
    ("input_shape must have a channel axis 3", lambda: bn.BatchNormalization(axis=3).build((4,))),
    ("axis 0 is the batch axis", lambda: bn.BatchNormalization(axis=0).build((4, 3))),
    (
        r"input_shape must have 3 channels on axis 1, got \(4, 8, 8\)",
        lambda: bn.BatchNorm2d(3).output_shape((4, 8, 8)),
    ),
    (r"expected 4D input \(got 3D input\)", lambda: bn.BatchNorm2d(3).output_shape((3, 8))),
    (
        r"input_shape must have no negative size, got \(3, -1\)",
        lambda: bn.BatchNorm1d(3).output_shape((3, -1)),
    ),
    (
        "input_shape must be a tuple of integers, got .3, True.",
        lambda: bn.BatchNorm1d(3).output_shape((3, True)),
    ),
    ("axis must be an integer, got 'last'", lambda: bn.BatchNorm1d(3, axis="last")),
    (
        "Expected more than 1 value per channel when training, got input size",
        lambda: bn.batch_norm(np.ones((1, 3)), np.zeros(3), np.ones(3), training=True),
    ),
]


@pytest.mark.parametrize(("message", "call"), BAD_CALLS, ids=[m for m, _ in BAD_CALLS])
def test_a_bad_call_says_what_was_expected_and_what_came(message, call):
    with pytest.raises((TypeError, ValueError, RuntimeError), match=message):
        call()


MASKED = np.ma.masked_array(X, mask=X > 0)
STATS = bn.stats(X)
MASKED_CALLS = [
    ("normalize", "out", lambda: bn.normalize(X, ONE, ONE, out=MASKED)),
    ("normalize", "residual", lambda: bn.normalize(X, ONE, ONE, residual=MASKED)),
    ("normalize_batch", "residual", lambda: bn.normalize_batch(X, residual=MASKED)),
    ("backward_reduce", "dy", lambda: bn.backward_reduce(MASKED, X, ONE)),
    ("backward_apply", "dy", lambda: bn.backward_apply(MASKED, X, ONE, ONE)),
    ("backward_batch", "dy", lambda: bn.backward_batch(MASKED, X, STATS)),
    ("backward_batch", "y", lambda: bn.backward_batch(X, X, STATS, y=MASKED, activation="relu")),
    ("backward_batch", "dresidual", lambda: bn.backward_batch(X, X, STATS, dresidual=MASKED)),
    ("normalize", "weight", lambda: bn.normalize(X, ONE, ONE, np.ma.ones(3))),
    ("stats", "weights", lambda: bn.stats(X, weights=MASKED)),
    ("BatchNorm2d", "mask", lambda: bn.BatchNorm2d(3)(X, mask=np.ma.ones((4, 5, 5), bool))),
    ("position_weights", "lengths", lambda: bn.position_weights(X, lengths=np.ma.ones(4, int))),
    (
        "position_weights",
        "sample_weight",
        lambda: bn.position_weights(X, sample_weight=np.ma.ones(4)),
    ),
    ("commit", "running_mean", lambda: bn.commit(STATS, np.ma.ones(3), np.ones(3))),
    ("Parameter", "data", lambda: bn.Parameter(MASKED)),
    (
        "load_state_dict",
        "bias",
        lambda: bn.BatchNorm2d(3).load_state_dict(
            bn.BatchNorm2d(3).state_dict() | {"bias": np.ma.ones(3)}
        ),
    ),
    (
        "CrossEntropyLoss",
        "target",
        lambda: nn.CrossEntropyLoss()(np.ones((4, 2)), np.ma.ones(4, int)),
    ),
    ("MSELoss", "target", lambda: nn.MSELoss()(np.ones(4), np.ma.ones(4))),
]
MASKED_IDS = [f"{name} of {function}" for function, name, _ in MASKED_CALLS]


@pytest.mark.parametrize(
    ("name", "call"), [(name, call) for _, name, call in MASKED_CALLS], ids=MASKED_IDS
)
def test_no_mask_of_a_masked_array_is_ignored(name, call):
    with pytest.raises((TypeError, ValueError), match=f"^{name} must .*") as caught:
        call()
    assert "Masked" in str(caught.value) or "mask" in str(caught.value)


def test_a_layers_backward_refuses_a_masked_dy():
    for layer in (bn.BatchNorm2d(3), nn.ReLU()):
        layer(X)
        with pytest.raises(TypeError, match=r"dy of \w+ must have no mask, got a Masked"):
            layer.backward(MASKED)


@pytest.mark.parametrize("layer", [bn.BatchNorm1d(3), bn.BatchNormalization()])
def test_backward_must_follow_forward_once(layer):
    x = np.random.default_rng(0).standard_normal((5, 3))
    with pytest.raises(RuntimeError, match=r"backward must follow .*'s forward, once"):
        layer.backward(x)
    layer(x)
    layer.backward(x)
    with pytest.raises(RuntimeError, match=r"backward must follow .*'s forward, once"):
        layer.backward(x)


def test_a_wrong_dy_leaves_the_layer_ready_for_the_right_one():
    layer, x = bn.BatchNorm1d(3), np.random.default_rng(0).standard_normal((5, 3))
    layer(x)
    with pytest.raises(ValueError, match=r"dy of .* must have shape"):
        layer.backward(x[:2])
    assert layer.weight.grad is None
    layer.backward(x)


@pytest.mark.parametrize(
    "bad",
    [np.ones((1, 3)), np.ones((5, 4)), np.ones((5, 3), int), np.ones(3)],
    ids=["one value", "four channels", "integers", "one axis"],
)
def test_a_bad_batch_changes_nothing_in_a_layer(bad):
    layer = bn.BatchNorm1d(3)
    before = state(layer)
    with pytest.raises((TypeError, ValueError)):
        layer(bad)
    assert same_state(state(layer), before)
    assert layer._kept is None


def test_a_bad_first_batch_does_not_decide_the_channels_of_a_keras_layer():
    layer = bn.BatchNormalization()
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        layer(np.ones((1, 3)))
    assert layer(np.ones((4, 5))).shape == (4, 5)


def test_the_functional_form_updates_both_statistics_or_none():
    x = np.random.default_rng(0).standard_normal((5, 3))
    mean, var = np.zeros(3), np.ones(3)
    var.flags.writeable = False
    with pytest.raises(ValueError, match="running_var must be writeable, got a read-only array"):
        bn.batch_norm(x, mean, var, training=True)
    with pytest.raises(ValueError, match="out must have shape"):
        bn.batch_norm(x, mean, np.ones(3), training=True, out=np.ones(3))
    assert (mean == 0).all()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "missing weight, bias, running_mean, running_var$"),
        ({"gamma": ONE}, "missing weight.*; unknown gamma"),
        (bn.BatchNorm1d(4).state_dict(), r"weight must have shape \(3,\), got \(4,\)"),
        (
            bn.BatchNorm1d(3).state_dict() | {"bias": ["a", "b", "c"]},
            "bias must hold numbers, got dtype <U1",
        ),
        (
            bn.BatchNorm1d(3, dtype=np.float64).state_dict() | {"bias": np.full(3, 1e300)},
            r"bias must hold numbers that fit float32, got 1e\+300",
        ),
        (
            bn.BatchNorm1d(3).state_dict() | {"num_batches_tracked": -1},
            "num_batches_tracked must not be negative, got -1",
        ),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(state, message):
    layer = bn.BatchNorm1d(3)
    layer.weight.data[...] = 5
    with pytest.raises((ValueError, TypeError), match=message):
        layer.load_state_dict(state)
    assert (layer.weight.data == 5).all()


def test_an_abstract_module_says_what_is_missing():
    class Half(bn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"Half\.forward"):
        Half()(X)
    with pytest.raises(NotImplementedError, match=r"Half\.backward"):
        Half().backward(X)


def test_a_state_must_be_a_mapping():
    with pytest.raises(TypeError, match="state must be a mapping of names to arrays, got NoneType"):
        bn.BatchNorm1d(3).load_state_dict(None)
