"""These tests are of Linear, the activations, Flatten, Dropout and the initialisation."""

import numpy as np
import pytest
from arrays import normal
from gradcheck import gradcheck

import bn
from bn import nn

ELEMENTWISE = [
    nn.ReLU(),
    nn.ReLU6(),
    nn.LeakyReLU(),
    nn.LeakyReLU(0.3),
    nn.LeakyReLU(-0.3),
    nn.LeakyReLU(1.5),
    nn.Sigmoid(),
    nn.Tanh(),
    nn.GELU(),
    nn.GELU("tanh"),
    nn.SiLU(),
    nn.ELU(0.7),
    nn.Softplus(0.7, 1.0),
    nn.Hardswish(),
    nn.PReLU(4, dtype=np.float64),
    nn.PReLU(dtype=np.float64),
    nn.LogSoftmax(),
    nn.LogSoftmax(axis=1),
    nn.Softmax(),
    nn.Softmax(axis=1),
    nn.Flatten(),
    nn.Dropout(0.4, rng=0),
    nn.Dropout(0.0),
    nn.Dropout(1.0),
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layer", ELEMENTWISE, ids=repr)
def test_layers_have_the_right_gradients(layer, training):
    def same_zeros():
        if isinstance(layer, nn.Dropout):
            layer.rng = np.random.default_rng(5)

    gradcheck(layer.train(training), normal(3, 4, 5), before=same_zeros)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layer", [*ELEMENTWISE, nn.Linear(5, 3, rng=0)], ids=repr)
def test_layers_keep_the_dtype(layer, dtype):
    layer.train()
    y = layer(normal(3, 4, 5, dtype=dtype))
    assert y.dtype == dtype
    assert y.shape == (3, *layer.output_shape((4, 5)))
    assert layer.backward(y).dtype == dtype


@pytest.mark.parametrize("layer", [*ELEMENTWISE, nn.Linear(5, 3, rng=0)], ids=repr)
def test_layers_of_an_empty_batch_are_empty(layer):
    y = layer.train()(normal(3, 4, 5)[:0])
    assert y.shape == (0, *layer.output_shape((4, 5)))
    assert layer.backward(y).shape == (0, 4, 5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 5), (2, 1, 3, 5)])
def test_linear_has_the_right_gradients(shape, bias, training):
    gradcheck(nn.Linear(5, 3, bias, dtype=np.float64, rng=0).train(training), normal(*shape))


def test_linear_is_a_matrix_product_on_the_last_axis():
    layer, x = nn.Linear(5, 3, dtype=np.float64, rng=0), normal(2, 4, 5)
    expected = np.einsum("abi,oi->abo", x, layer.weight.data) + layer.bias.data
    np.testing.assert_allclose(layer(x), expected, rtol=1e-12)


def test_linear_takes_a_single_vector():
    layer, x = nn.Linear(5, 3, dtype=np.float64, rng=0), normal(5)
    y = layer(x)
    np.testing.assert_allclose(y, layer.weight.data @ x + layer.bias.data, rtol=1e-12)
    dx = layer.backward(np.ones(3))
    np.testing.assert_allclose(dx, layer.weight.data.sum(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(layer.weight.grad, np.tile(x, (3, 1)))
    np.testing.assert_array_equal(layer.bias.grad, np.ones(3))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_of_nothing_is_nothing(axis):
    layer, x = nn.Softmax(axis), np.ones((2, 0) if axis else (0, 2))
    y = layer(x)
    assert y.shape == x.shape == layer.backward(y).shape


def test_activations_have_their_values():
    x = np.array([-2.0, 0.0, 2.0])
    np.testing.assert_array_equal(nn.ReLU()(x), [0, 0, 2])
    np.testing.assert_array_equal(nn.ReLU6()(3 * x), [0, 0, 6])
    np.testing.assert_array_equal(nn.LeakyReLU(0.5)(x), [-1, 0, 2])
    np.testing.assert_allclose(nn.Sigmoid()(x), 1 / (1 + np.exp(-x)))
    np.testing.assert_array_equal(nn.Tanh()(x), np.tanh(x))
    np.testing.assert_allclose(nn.Softmax()(x), np.exp(x) / np.exp(x).sum())


@pytest.mark.parametrize("layer", ELEMENTWISE[:6], ids=repr)
def test_nan_passes_through_activations(layer):
    assert np.isnan(layer(np.array([np.nan]))).all()


@pytest.mark.parametrize("layer", [nn.Sigmoid(), nn.Tanh(), nn.Softmax()], ids=repr)
def test_saturating_activations_stay_finite_at_the_largest_numbers(layer):
    largest = np.finfo(np.float32).max
    y = layer(np.array([[-largest, 0, largest / 2]], np.float32))
    assert np.isfinite(y).all()
    assert np.isfinite(layer.backward(np.ones_like(y))).all()


def test_relu_keeps_its_output_only():
    relu = nn.ReLU()
    y = relu(normal(3))
    kept = relu._kept[2]
    assert len(kept) == 1 and kept[0] is y


def test_dropout_keeps_the_mean_and_does_nothing_in_eval_mode():
    layer, x = nn.Dropout(0.25, rng=0), np.ones((200, 200), np.float32)
    y = layer(x)
    assert abs((y == 0).mean() - 0.25) < 0.01
    np.testing.assert_allclose(y[y != 0], 1 / 0.75, rtol=1e-6)
    assert layer.eval()(x) is x


def test_dropout_of_the_same_seed_gives_the_same_zeros_and_of_another_seed_others():
    x = np.ones((10, 10))
    first, again, other = (nn.Dropout(0.5, rng=seed)(x) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    "make", [lambda rng: nn.Linear(300, 200, rng=rng), lambda rng: nn.Conv2d(30, 200, 3, rng=rng)]
)
def test_new_weights_are_uniform_within_one_over_the_root_of_the_fan_in(make):
    layer = make(0)
    bound = (layer.weight.size // layer.weight.shape[0]) ** -0.5
    for values in (layer.weight.data, layer.bias.data):
        assert values.dtype == np.float32
        assert abs(values).max() <= np.float32(bound)
        assert abs(values).max() > 0.95 * bound
        assert abs(values.std() / (bound / 3**0.5) - 1) < 0.1
        assert abs(values.mean()) < 0.1 * bound
    np.testing.assert_array_equal(make(0).weight, layer.weight)
    assert (make(1).weight.data != layer.weight.data).any()
    assert (make(None).weight.data != layer.weight.data).any()


def test_layers_may_share_a_generator():
    rng = np.random.default_rng(0)
    first, second = nn.Linear(3, 2, rng=rng), nn.Linear(3, 2, rng=rng)
    assert (first.weight.data != second.weight.data).any()
    np.testing.assert_array_equal(first.weight, nn.Linear(3, 2, rng=0).weight)


def test_a_channels_last_layer_says_so_in_its_repr():
    assert repr(nn.MaxPool2d(2, axis=-1)).endswith("ceil_mode=False, axis=-1)")
    assert (
        repr(nn.AvgPool2d(2, axis=-1)) == "AvgPool2d(kernel_size=2, stride=2, padding=0, axis=-1)"
    )
    assert repr(nn.AdaptiveAvgPool2d(1, axis=-1)) == "AdaptiveAvgPool2d(output_size=1, axis=-1)"
    conv = nn.Conv2d(1, 2, 3, axis=-1)
    assert repr(conv) == "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), axis=-1)"


PAIRS = [
    ("ReLU", ()),
    ("ReLU6", ()),
    ("LeakyReLU", ()),
    ("LeakyReLU", (0.3,)),
    ("Sigmoid", ()),
    ("Tanh", ()),
    ("Flatten", ()),
    ("GELU", ()),
    ("GELU", ("none",)),
    ("GELU", ("tanh",)),
    ("SiLU", ()),
    ("ELU", (0.3,)),
    ("Softplus", (2.0, 0.5)),
    ("Hardswish", ()),
    ("LogSoftmax", (-1,)),
    ("LogSoftmax", (1,)),
    ("Softmax", (-1,)),
    ("Softmax", (1,)),
    ("Dropout", (0.0,)),
]


@pytest.mark.parity
@pytest.mark.parametrize(("kind", "arguments"), PAIRS)
def test_layers_equal_pytorch(torch, kind, arguments):
    ours, theirs = getattr(nn, kind)(*arguments), getattr(torch.nn, kind)(*arguments)
    x = normal(3, 4, 5)
    x[0, 0, 0] = 0
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    dy = np.random.default_rng(2).standard_normal(ty.shape)
    ty.backward(torch.tensor(dy))
    np.testing.assert_allclose(ours(x), ty.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.backward(dy), tx.grad.numpy(), rtol=1e-10, atol=1e-15)
    assert repr(ours) == repr(theirs)


@pytest.mark.parity
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 4, 5), (5,)])
def test_linear_equals_pytorch(torch, shape, bias):
    theirs = torch.nn.Linear(5, 3, bias, dtype=torch.float64)
    ours = nn.Linear(5, 3, bias, dtype=np.float64)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x = normal(*shape)
    tx = torch.tensor(x, requires_grad=True)
    ty = theirs(tx)
    ty.sum().backward()
    np.testing.assert_allclose(ours(x), ty.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.backward(np.ones(ty.shape)), tx.grad.numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.weight.grad, theirs.weight.grad.numpy(), rtol=1e-12)
    assert repr(ours) == repr(theirs)


@pytest.mark.parity
@pytest.mark.parametrize(("kind", "arguments"), [("Linear", (300, 400)), ("Conv2d", (60, 200, 3))])
def test_new_weights_are_distributed_as_pytorchs(torch, kind, arguments):
    torch.manual_seed(0)
    ours = getattr(nn, kind)(*arguments, rng=0)
    theirs = getattr(torch.nn, kind)(*arguments)
    for name, values in ours.state_dict().items():
        expected = theirs.state_dict()[name].numpy()
        assert abs(values.std() / expected.std() - 1) < 0.1
        assert abs(abs(values).max() / abs(expected).max() - 1) < 0.05


@pytest.mark.parity
def test_dropout_reads_as_pytorchs(torch):
    assert repr(nn.Dropout(0.25)) == repr(torch.nn.Dropout(0.25))
    assert repr(nn.AdaptiveAvgPool2d(1)) == repr(torch.nn.AdaptiveAvgPool2d(1))
    assert repr(nn.AdaptiveAvgPool2d((1, 1))) == repr(torch.nn.AdaptiveAvgPool2d((1, 1)))


def test_relu_lets_nan_pass_and_stops_an_infinite_gradient():
    relu = nn.ReLU()
    relu(np.array([-1.0, np.nan, 2.0]))
    np.testing.assert_array_equal(relu.backward(np.array([np.inf, 1.0, 3.0])), [0, 1, 3])


def test_layers_learn_the_number_of_their_inputs_from_the_first_batch_or_from_build():
    def lazy():
        return nn.Sequential(
            nn.Conv2d(None, 4, 3, groups=2, rng=0), bn.BatchNormalization(axis=1), nn.Flatten(),
            nn.Linear(None, 5, rng=1),
        )  # fmt: skip

    known = nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2, rng=0), bn.BatchNormalization(axis=1), nn.Flatten(),
        nn.Linear(16, 5, rng=1),
    )  # fmt: skip
    x = normal(6, 2, 4, 4, dtype=np.float32)
    called, built = lazy(), lazy()
    with pytest.raises(RuntimeError, match="Conv2d must be built before its parameters are asked"):
        called.parameters()
    assert "Conv2d(None, 4" in repr(called)
    built.build((2, 4, 4))
    for model in (called, built):
        np.testing.assert_array_equal(model(x), known(x))
        assert model[0].in_channels == 2 and model[3].in_features == 16
    assert list(called.state_dict()) == list(known.state_dict())


def test_a_layer_that_learned_its_inputs_takes_no_others():
    conv, linear = nn.Conv2d(None, 4, 3, groups=2), nn.Linear(None, 3)
    assert conv.output_shape((5, 4, 4)) == (4, 2, 2) and linear.output_shape((7,)) == (3,)
    with pytest.raises(ValueError, match="groups must divide in_channels 3"):
        conv(normal(1, 3, 4, 4, dtype=np.float32))
    assert not conv.built
    conv.build((2, 4, 4)), linear.build((7,))
    with pytest.raises(ValueError, match="Conv2d takes 2 channels"):
        conv(normal(1, 3, 4, 4, dtype=np.float32))
    with pytest.raises(ValueError, match="Linear takes 7 features"):
        linear.build((8,))
    with pytest.raises(ValueError, match="in_features must be a positive integer, got 0"):
        nn.Linear(0, 1)


def test_harmless_arguments_of_pytorch_are_taken():
    layers = (nn.ReLU(inplace=True), nn.LeakyReLU(0.1, inplace=True), nn.Dropout(0.5, True))
    model = nn.Sequential(*layers, nn.Flatten(1), nn.Identity(54, unused=0.1))
    assert model.eval()(normal(2, 3, 4)).shape == (2, 12)
    model.zero_grad(set_to_none=True)
