"""`bn.convert`: a layer and its conversion train alike, in both directions, for each framework."""

import numpy as np
import pytest

import bn
from bn import convert

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # Keras causes it
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # JAX and Flax cause some
]

ROUNDING = {"rtol": 2e-5, "atol": 2e-5}
SHAPE = (6, 4, 5, 4)


@pytest.fixture(scope="module")
def flax():
    return pytest.importorskip("flax")


def batches(shape=SHAPE, n=3):
    rng = np.random.default_rng(0)
    return [(2 * rng.standard_normal(shape) + 1).astype(np.float32) for _ in range(n)]


def stir(layer):
    """Give a layer of bn values that differ from channel to channel."""
    rng = np.random.default_rng(1)
    for name, array in layer.named_state():
        if array.dtype.kind == "f":
            array[...] = 0.5 + rng.random(array.shape)
        assert "num_batches" not in name or array.size == 1
    return layer


def train_in_torch(layer, xs, training):
    import torch

    layer.train(training)
    return [layer(torch.from_numpy(x)).detach().numpy() for x in xs]


def train_in_keras(layer, xs, training):
    import keras

    options = {"training": training} if "Batch" in type(layer).__name__ else {}
    return [keras.ops.convert_to_numpy(layer(x, **options)).copy() for x in xs]


def train_in_bn(layer, xs, training):
    layer.train(training)
    return [layer(x) for x in xs]


def alike(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, **ROUNDING)


def same_state(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert list(one) == list(other)
    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], err_msg=name, **ROUNDING)


# ---- PyTorch ----

TORCH = {
    "BatchNorm2d": lambda nn: nn.BatchNorm2d(4, eps=0.1, momentum=0.3),
    "cumulative": lambda nn: nn.BatchNorm2d(4, momentum=None),
    "no affine": lambda nn: nn.BatchNorm2d(4, affine=False),
    "no bias": lambda nn: nn.BatchNorm2d(4, bias=False),
    "no statistics": lambda nn: nn.BatchNorm2d(4, track_running_stats=False),
    "LayerNorm": lambda nn: nn.LayerNorm((5, 4), eps=0.1),
    "GroupNorm": lambda nn: nn.GroupNorm(2, 4, eps=0.1),
    "InstanceNorm2d": lambda nn: nn.InstanceNorm2d(4, affine=True),
    "tracked": lambda nn: nn.InstanceNorm2d(4, momentum=0.3, track_running_stats=True),
    "RMSNorm": lambda nn: nn.RMSNorm((5, 4)),
}


@pytest.mark.parametrize("name", TORCH)
def test_a_layer_of_pytorch_trains_alike_there_and_back(torch, name):
    xs, layer = batches(), TORCH[name](torch.nn)
    train_in_torch(layer, xs[:1], True)  # so that its values are not the first ones
    ours = convert.from_torch(layer)
    back = convert.to_torch(ours)
    for training in (True, False):
        expected = train_in_torch(layer, xs, training)
        alike(train_in_bn(ours, xs, training), expected)
        alike(train_in_torch(back, xs, training), expected)
    state = {key: value.numpy(force=True) for key, value in layer.state_dict().items()}
    counted = "num_batches_tracked"  # which PyTorch's instance norms leave at 0
    for key, value in ours.state_dict().items():
        if not (key == counted and name == "tracked"):
            np.testing.assert_allclose(value, state[key], err_msg=key, **ROUNDING)


def test_a_synchronized_layer_becomes_one_of_any_rank(torch):
    layer = torch.nn.SyncBatchNorm(4, eps=0.1, momentum=0.3)
    twin = torch.nn.BatchNorm2d(4, eps=0.1, momentum=0.3)
    ours = convert.from_torch(layer)
    alike(train_in_bn(ours, batches(), True), train_in_torch(twin, batches(), True))
    same_state(ours, convert.from_torch(twin))
    assert ours(batches((6, 4))[0]).shape == (6, 4)


OURS_TO_TORCH = {
    "Keras's": (lambda: bn.BatchNormalization(axis=1, momentum=0.7), "as is"),
    "Flax's": (lambda: bn.preset("flax", 4, axis=1, momentum=0.7), "as is"),
    "of any rank": (lambda: bn.preset("torch", 4, momentum=0.3), "exact"),
}


@pytest.mark.parametrize("name", OURS_TO_TORCH)
def test_a_layer_of_any_convention_trains_alike_in_pytorch(torch, name):
    make, variance = OURS_TO_TORCH[name]
    ours, xs = make(), batches()
    ours.build(SHAPE[1:])
    there = convert.to_torch(stir(ours), ndim=4, variance=variance)
    alike(train_in_torch(there, xs, False), train_in_bn(ours, xs, False))
    alike(train_in_torch(there, xs, True), train_in_bn(ours, xs, True))
    np.testing.assert_allclose(there.running_mean, ours.running_mean, **ROUNDING)


def test_norms_of_samples_with_kerass_names_become_pytorchs(torch):
    x = batches(n=1)
    for layer, ndim in (
        (bn.LayerNormalization([2, 3]), 4),
        (bn.LayerNormalization([-2, -1], center=False), None),
        (bn.GroupNormalization(2, axis=1), None),
        (bn.GroupNormalization(-1, axis=1, center=False, scale=False), None),
    ):
        layer.build(SHAPE[1:])
        there = convert.to_torch(stir(layer), ndim=ndim)
        alike(train_in_torch(there, x, True), train_in_bn(layer, x, True))


# ---- Keras ----

KERAS = {
    "BatchNormalization": lambda k: k.BatchNormalization(momentum=0.7, epsilon=0.1),
    "axis": lambda k: k.BatchNormalization(axis=1),
    "no scale": lambda k: k.BatchNormalization(scale=False),
    "no center": lambda k: k.BatchNormalization(center=False),
    "renorm": lambda k: k.BatchNormalization(renorm=True, renorm_clipping={"rmax": 1.5}),
    "frozen": lambda k: k.BatchNormalization(trainable=False),
    "LayerNormalization": lambda k: k.LayerNormalization(),
    "several axes": lambda k: k.LayerNormalization([2, 3]),
    "GroupNormalization": lambda k: k.GroupNormalization(2, axis=1),
    "instances": lambda k: k.GroupNormalization(-1, epsilon=0.1),
    "RMSNormalization": lambda k: k.RMSNormalization(),
}


@pytest.mark.parametrize("name", KERAS)
def test_a_layer_of_keras_trains_alike_there_and_back(keras, name):
    xs, layer = batches(), KERAS[name](keras.layers)
    train_in_keras(layer, xs[:1], True)
    rng = np.random.default_rng(1)
    layer.set_weights([0.5 + rng.random(w.shape) for w in layer.get_weights()])
    ours = convert.from_keras(layer)
    back = convert.to_keras(ours, ndim=4)
    for training in (True, False):
        expected = train_in_keras(layer, xs, training)
        alike(train_in_bn(ours, xs, training), expected)
        alike(train_in_keras(back, xs, training), expected)
    alike(back.get_weights(), layer.get_weights())
    same_state(ours, convert.from_keras(layer))
    assert back.trainable == layer.trainable


def test_regularizers_of_keras_are_kept(keras):
    penalty = keras.regularizers.L1L2(0.25, 0.5)
    layer = keras.layers.BatchNormalization(gamma_regularizer=penalty)
    layer.build((None, 4))
    ours = convert.from_keras(layer)
    assert ours.gamma_regularizer == bn.Regularizer(0.25, 0.5)
    assert convert.to_keras(ours, ndim=2).gamma_regularizer.get_config() == penalty.get_config()


def test_a_frozen_layer_of_bn_is_not_trainable_in_keras(keras):
    frozen = bn.freeze(bn.preset("keras", 4))
    there = convert.to_keras(frozen, ndim=4)
    assert there.trainable is False
    alike(train_in_keras(there, batches(), True), train_in_bn(frozen, batches(), True))


def test_a_layer_of_keras_that_is_not_built_stays_so(keras):
    ours = convert.from_keras(keras.layers.BatchNormalization(momentum=0.7))
    assert not ours.built and ours.momentum == 0.7


OURS_TO_KERAS = {
    "PyTorch's": (lambda: bn.BatchNorm2d(4, momentum=0.3), {"variance": "as is"}),
    "Flax's": (lambda: bn.preset("flax", 4, axis=1, momentum=0.7), {"ndim": 4}),
    "instances": (lambda: bn.InstanceNorm2d(4, affine=True), {}),
    "LayerNorm": (lambda: bn.LayerNorm((5, 4), bias=False), {}),
    "GroupNorm": (lambda: bn.GroupNorm(2, 4), {"ndim": 4}),
}


@pytest.mark.parametrize("name", OURS_TO_KERAS)
def test_a_layer_of_any_convention_trains_alike_in_keras(keras, name):
    make, options = OURS_TO_KERAS[name]
    ours, xs = stir(make()), batches()
    there = convert.to_keras(ours, **options)
    alike(train_in_keras(there, xs, False), train_in_bn(ours, xs, False))
    alike(train_in_keras(there, xs, True), train_in_bn(ours, xs, True))
    if name == "Flax's":
        np.testing.assert_allclose(there.get_weights()[3], ours.running_var, **ROUNDING)


# ---- Flax ----

FLAX = {
    "last": {"momentum": 0.7, "epsilon": 0.1},
    "axis": {"axis": 1},
    "no scale": {"use_scale": False},
    "no bias": {"use_bias": False},
}


def train_in_linen(module, variables, xs, training):
    ys = []
    for x in xs:
        y, changed = module.apply(
            variables, x, use_running_average=not training, mutable=["batch_stats"]
        )
        variables = {**variables, **changed}
        ys.append(np.array(y))
    return ys, variables


def train_in_nnx(module, xs, training):
    return [np.array(module(x, use_running_average=not training)) for x in xs]


@pytest.mark.parametrize("name", FLAX)
def test_a_module_of_linen_trains_alike_there_and_back(flax, name):
    import jax
    from flax import linen

    xs, module = batches(), linen.BatchNorm(**FLAX[name])
    variables = module.init(jax.random.key(0), xs[0], use_running_average=False)
    _, variables = train_in_linen(module, variables, xs[:1], True)
    ours = convert.from_flax(module, variables)
    back, its = convert.to_flax(ours)
    for training in (True, False):
        expected, variables = train_in_linen(module, variables, xs, training)
        found, its = train_in_linen(back.clone(use_running_average=None), its, xs, training)
        alike(train_in_bn(ours, xs, training), expected)
        alike(found, expected)
    same_state(ours, _with_count_of(ours, convert.from_flax(module, variables)))


def _with_count_of(one, other):
    other.num_batches_tracked[...] = one.num_batches_tracked
    return other


@pytest.mark.parametrize("name", FLAX)
def test_a_module_of_nnx_trains_alike_there_and_back(flax, name):
    from flax import nnx

    xs = batches()
    module = nnx.BatchNorm(4, rngs=nnx.Rngs(0), **FLAX[name])
    train_in_nnx(module, xs[:1], True)
    ours = convert.from_flax(module)
    back = convert.to_flax(ours, api="nnx")
    for training in (True, False):
        expected = train_in_nnx(module, xs, training)
        alike(train_in_bn(ours, xs, training), expected)
        alike(train_in_nnx(back, xs, training), expected)
    same_state(ours, _with_count_of(ours, convert.from_flax(back)))


def test_the_mode_of_a_module_is_kept(flax):
    layer = bn.preset("flax", 4).eval()
    module, variables = convert.to_flax(layer)
    assert module.use_running_average is True
    assert not convert.from_flax(module, variables).training


# ---- the kind of running variance ----


@pytest.mark.parametrize("side", ["torch", "keras", "flax"])
def test_the_other_kind_of_running_variance_needs_a_choice(side, request):
    request.getfixturevalue(side)
    make, read = {
        "torch": (convert.to_torch, lambda layer: layer.running_var.numpy()),
        "keras": (convert.to_keras, lambda layer: layer.get_weights()[3]),
        "flax": (convert.to_flax, lambda found: np.array(found[1]["batch_stats"]["var"])),
    }[side]
    unbiased = side != "torch"  # the kind that the layer has
    layer = bn.preset("torch" if unbiased else "keras", 4, axis=1)
    stir(layer)
    options = {} if side == "flax" else {"ndim": 4}
    words = "running variance is (un)?biased, .*: give variance=M"
    with pytest.raises(ValueError, match=words):
        make(layer, **options)
    as_is = read(make(layer, variance="as is", **options))
    np.testing.assert_array_equal(as_is, layer.running_var)
    factor = 99 / 100 if unbiased else 100 / 99
    found = read(make(layer, variance=100, **options))
    np.testing.assert_allclose(found, factor * layer.running_var, rtol=1e-6)


@pytest.mark.parametrize("side", ["torch", "keras", "flax"])
def test_what_a_framework_would_have_kept_is_what_it_keeps(side, request):
    """The running variance of 100 values a channel, converted, is the other framework's own."""
    request.getfixturevalue(side)
    other = "torch" if side != "torch" else "keras"
    layer = bn.preset(other, 4, axis=1, momentum=0.5)
    twin = bn.preset(side, 4, axis=1, momentum=0.5)
    layer.running_var[...] = twin.running_var[...] = 0  # so that only batches are in them
    for x in batches((20, 4, 5)):
        layer(x)
        twin(x)
    options = {} if side == "flax" else {"ndim": 3}
    make = getattr(convert, f"to_{side}")
    found = getattr(convert, f"from_{side}")
    made = make(layer, variance=100, **options)
    back = found(*made) if isinstance(made, tuple) else found(made)
    np.testing.assert_allclose(back.running_var, twin.running_var, rtol=1e-5)


# ---- what is refused ----


def refused(call, words, error=ValueError):
    with pytest.raises(error, match=words):
        call()


def test_what_pytorch_has_not_exactly_is_named(torch):
    to = convert.to_torch
    refused(lambda: to(bn.BatchNormalization()), "it has no channels yet")
    refused(lambda: to(bn.preset("torch", 4)), "ndim must be the number of axes of x")
    refused(lambda: to(bn.preset("torch", 4), ndim=6), "no class takes x of 6 axes")
    refused(lambda: to(bn.preset("torch", 4, axis=-1), ndim=4), "its channels are on axis -1")
    refused(lambda: to(bn.preset("darknet", 4), ndim=4), "its eps stands outside the root")
    refused(lambda: to(bn.preset("torch", 4, start="first"), ndim=4), "start='first'")
    refused(lambda: to(bn.freeze(bn.BatchNorm2d(4))), "it is frozen")
    refused(lambda: to(bn.preset("torch", 4, scale=False), ndim=4), "a bias without a weight")
    renorm = bn.BatchNormalization(axis=1, renorm=True)
    renorm.build(SHAPE[1:])
    refused(lambda: to(renorm, ndim=4), r"\(renorm\)")
    norm = bn.LayerNormalization([1, 2])
    refused(lambda: to(norm), "it has no channels yet")
    norm.build(SHAPE[1:])
    refused(lambda: to(norm, ndim=4), "its axes .* are not the last ones")
    refused(lambda: to(bn.nn.ReLU()), "must be one of bn's .*, got ReLU", TypeError)
    refused(lambda: to(bn.BatchNorm2d(4), variance=1), "variance must be 'exact', 'as is', or")
    tracked = torch.nn.InstanceNorm1d(3, momentum=None, track_running_stats=True)
    refused(lambda: convert.from_torch(tracked), "momentum=None leaves")
    conv = torch.nn.Conv2d(1, 1, 1)
    refused(lambda: convert.from_torch(conv), "one of PyTorch's .*, got Conv2d", TypeError)


def test_what_keras_has_not_exactly_is_named(keras):
    to, layers = convert.to_keras, keras.layers
    refused(lambda: to(bn.BatchNorm2d(4, momentum=None)), "momentum=None")
    refused(lambda: to(bn.BatchNorm2d(4, track_running_stats=False)), "no running statistics")
    refused(lambda: to(bn.freeze(bn.BatchNorm2d(4), use_batch_stats=True)), "it is frozen")
    refused(lambda: to(bn.RMSNorm(4)), "its eps is not a number above 0")
    refused(lambda: to(bn.RMSNorm(4, 1e-3, elementwise_affine=False)), "it has no weight")
    refused(lambda: to(bn.InstanceNorm2d(4, track_running_stats=True)), "running statistics")
    refused(lambda: to(bn.GroupNorm(2, 4)), "ndim must be the number of axes")
    refused(lambda: to(bn.LayerNormalization()), "it has no channels yet")
    limited = layers.BatchNormalization(gamma_constraint=keras.constraints.NonNeg())
    refused(lambda: convert.from_keras(limited), "it has a gamma_constraint")
    own = layers.BatchNormalization(gamma_regularizer=keras.regularizers.OrthogonalRegularizer())
    refused(lambda: convert.from_keras(own), "its gamma_regularizer is a Orthogonal")
    penalized = layers.GroupNormalization(2, beta_regularizer="l1")
    refused(lambda: convert.from_keras(penalized), "it has a beta_regularizer")
    mixed = layers.BatchNormalization(dtype="mixed_bfloat16")
    refused(lambda: convert.from_keras(mixed), "it computes in bfloat16 with float32 variables")
    refused(lambda: convert.from_keras(layers.Dense(3)), "got Dense", TypeError)


def test_what_flax_has_not_exactly_is_named(flax):
    import jax
    from flax import linen

    to = convert.to_flax
    refused(lambda: to(bn.BatchNorm2d(4, momentum=None)), "momentum=None")
    refused(lambda: to(bn.preset("flax", 4, dtype="f8")), "JAX keeps, got float64")
    refused(lambda: to(bn.GroupNorm(2, 4)), "must be of type BatchNorm", TypeError)
    refused(lambda: to(bn.preset("flax", 4), api="haiku"), "api must be one of")
    module = linen.BatchNorm(use_running_average=False, axis=(1, 2))
    variables = module.init(jax.random.key(0), batches()[0])
    refused(lambda: convert.from_flax(module, variables), "several axes")
    shared = linen.BatchNorm(use_running_average=False, axis_name="batch")
    refused(lambda: convert.from_flax(shared, variables), "axis_name")
    refused(lambda: convert.from_flax(linen.BatchNorm()), "give its variables")
    refused(lambda: convert.from_flax(linen.BatchNorm(), 3), "variables must be a map", TypeError)
    refused(lambda: convert.from_flax(linen.Dense(3)), "got Dense", TypeError)


NEEDS_OURS = {
    "adapt": lambda model: bn.adapt(model, []),
    "match_state": lambda model: bn.match_state(model, {}),
    "export": lambda model: bn.onnx.export(model, "never.onnx", (3,)),
    "to_torch": convert.to_torch,
    "to_keras": convert.to_keras,
}


@pytest.mark.parametrize("name", NEEDS_OURS)
def test_a_model_of_pytorch_is_named_as_such_with_what_converts_it(torch, name):
    words = r"must be of type bn\.Module, got BatchNorm1d of PyTorch: bn\.torch\.to_bn converts it$"
    with pytest.raises(TypeError, match=words):
        NEEDS_OURS[name](torch.nn.BatchNorm1d(3))


def test_a_model_of_bn_is_named_as_such_where_pytorchs_is_needed(ours):
    words = r"must be of type torch\.nn\.Module, got BatchNorm1d of bn: bn\.torch\.from_bn converts"
    for call in (ours.to_bn, ours.accelerate):
        with pytest.raises(TypeError, match=words):
            call(bn.BatchNorm1d(3))


def test_a_layer_of_keras_is_not_taken_for_one_of_pytorch(keras):
    with pytest.raises(TypeError, match=r"layer must be of type Module, got BatchNormalization$"):
        convert.to_torch(keras.layers.BatchNormalization())
