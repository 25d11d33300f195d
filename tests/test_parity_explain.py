"""`bn.explain_difference` between layers and models of PyTorch, Keras and Flax."""

import numpy as np
import pytest

import bn
from bn import convert, nn

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # Keras causes it
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # JAX and Flax cause some
]

X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
IMAGES = np.random.default_rng(1).standard_normal((6, 3, 5, 4)).astype(np.float32)
TORCH_TO_KERAS = ["epsilon", "momentum", "kind of running variance"]


def names(explanation):
    return [cause.name for cause in explanation.causes]


@pytest.fixture(scope="module")
def flax():
    return pytest.importorskip("flax")


def linen_layer(**options):
    import jax
    from flax import linen

    module = linen.BatchNorm(**options)
    return module, module.init(jax.random.key(0), X, use_running_average=False)


def torch_model(torch, eps):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4, eps=eps), torch.nn.ReLU()
    )


def keras_model(keras, model):
    """Make the model of Keras with the weights of PyTorch's, its channels last."""
    layers = keras.layers
    made = keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()])
    made.build((None, 5, 4, 3))
    conv = model[0]
    made.layers[0].set_weights(
        [conv.weight.detach().numpy().transpose(2, 3, 1, 0), conv.bias.detach().numpy()]
    )
    return made


def test_layers_of_pytorch_and_keras_are_compared(torch, keras):
    a, b = torch.nn.BatchNorm1d(3), keras.layers.BatchNormalization()
    assert names(bn.explain_difference(a, b, X, training=True)) == TORCH_TO_KERAS
    assert names(bn.explain_difference(b, a, X, training=True)) == TORCH_TO_KERAS
    assert names(bn.explain_difference(a, b, X, training=False)) == ["epsilon"]
    assert int(a.num_batches_tracked) == 0 and a.training
    assert not np.any(b.get_weights()[2])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("side", ["bn", "keras"])
def test_the_channels_last_of_keras_are_found_as_the_axis(torch, keras, side, training):
    a = torch.nn.BatchNorm2d(3)
    b = bn.BatchNormalization() if side == "bn" else keras.layers.BatchNormalization()
    x = torch.tensor(np.random.default_rng(2).standard_normal((4, 3, 8, 8)), dtype=torch.float32)
    expected = ["epsilon", "axis", *(TORCH_TO_KERAS[1:] if training else [])]
    for sides in ((a, b), (b, a)):
        found = bn.explain_difference(*sides, x, training=training)
        assert names(found) == expected and found.remaining <= found.tolerance


def test_layers_of_pytorch_and_flax_are_compared(torch, flax):
    found = bn.explain_difference(torch.nn.BatchNorm1d(3), linen_layer(), X, training=True)
    assert names(found) == ["momentum", "kind of running variance"]
    found = bn.explain_difference(torch.nn.BatchNorm1d(3), linen_layer(), X, training=False)
    assert "no difference" in found.conclusion


def test_modules_of_linen_and_nnx_are_compared(flax):
    from flax import nnx

    module = nnx.BatchNorm(3, epsilon=1e-3, rngs=nnx.Rngs(0))
    for training in (True, False):
        found = bn.explain_difference(linen_layer(), module, X, training=training)
        assert names(found) == ["epsilon"]
    assert not np.any(module.mean[...])


@pytest.mark.parametrize("side", ["torch", "keras", "flax"])
@pytest.mark.parametrize("training", [True, False])
def test_a_converted_layer_has_no_difference(side, training, request):
    request.getfixturevalue(side)
    layer = bn.preset(side, 3, axis=1, momentum=0.3)
    layer(X)
    there = getattr(convert, f"to_{side}")(layer, **({} if side == "flax" else {"ndim": 2}))
    found = bn.explain_difference(layer, there, X, training=training)
    assert "no difference" in found.conclusion, found


def test_a_mode_that_pytorch_keeps_is_found(torch):
    a, b = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3).eval()
    assert names(bn.explain_difference(a, b, X)) == ["mode"]


def test_a_frozen_layer_of_keras_is_in_inference(keras):
    a, b = keras.layers.BatchNormalization(), keras.layers.BatchNormalization(trainable=False)
    assert names(bn.explain_difference(a, b, X, training=True)) == ["mode"]


def test_a_class_of_ones_own_is_explained_by_what_often_differs(torch):
    class Outside(torch.nn.BatchNorm1d):
        def forward(self, x):
            var, mean = torch.var_mean(x.detach(), 0, correction=0)
            return (x - mean) / (var.sqrt() + self.eps) * self.weight + self.bias

    a, b = torch.nn.BatchNorm1d(3, eps=1e-3), Outside(3, eps=1e-3)
    found = bn.explain_difference(a, b, X, training=True)
    assert names(found) == ["place of epsilon", "momentum"]  # it lets no batch in
    assert found.causes[1].b == "0" and found.remaining <= found.tolerance


def test_the_normalizations_of_two_models_are_compared_in_order(torch):
    a, b = torch_model(torch, 1e-5), torch_model(torch, 0.1)
    found = bn.explain_difference(a, b, IMAGES)
    assert names(found) == ["epsilon"] and found.place == "1 of a and 1 of b"


def test_models_whose_channels_lie_elsewhere_are_compared(torch, keras):
    a = torch_model(torch, 1e-5)
    b = keras_model(keras, a)
    moved = IMAGES.transpose(0, 2, 3, 1)
    found = bn.explain_difference(a, b, IMAGES, x_b=moved, training=True)
    assert names(found) == TORCH_TO_KERAS
    assert not np.any(b.layers[1].get_weights()[2])


def test_a_model_of_bn_and_its_conversion_have_no_difference(torch, ours):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, rng=0), bn.BatchNorm2d(4), nn.ReLU())
    found = bn.explain_difference(model, ours.from_bn(model), IMAGES)
    assert "no difference" in found.conclusion


def test_rounding_in_a_deep_model_is_no_difference_and_does_not_hide_one(torch, ours, models):
    torch.manual_seed(0)
    model = models.ResNet()
    x = np.random.default_rng(2).standard_normal((8, 3, 16, 16)).astype(np.float32)
    there = ours.to_bn(model)
    found = bn.explain_difference(model, there, x, training=True)
    assert "no difference" in found.conclusion, found
    path, last = [each for each in there.named_modules() if isinstance(each[1], bn.BatchNorm)][-1]
    last.eps = 1e-2
    found = bn.explain_difference(model, there, x, training=True)
    assert names(found) == ["epsilon"] and found.place == f"{path} of a and {path} of b"


def test_a_model_of_linen_is_looked_into(flax):
    import jax
    from flax import linen

    class Model(linen.Module):
        epsilon: float
        train: bool = True

        @linen.compact
        def __call__(self, x):
            x = linen.Dense(4)(x)
            norm = linen.BatchNorm(use_running_average=not self.train, epsilon=self.epsilon)
            return linen.relu(norm(x))

    sides = [Model(eps) for eps in (1e-5, 1e-2)]
    variables = sides[0].init(jax.random.key(0), X)
    found = bn.explain_difference((sides[0], variables), (sides[1], variables), X)
    assert names(found) == ["epsilon"] and found.place == "BatchNorm_0 of a and BatchNorm_0 of b"
