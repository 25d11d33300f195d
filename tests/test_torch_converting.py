"""`bn.torch.to_bn` and `from_bn` make models of the other side that compute the same."""

import importlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

import bn
from bn import nn

pytestmark = pytest.mark.parity


@pytest.fixture(autouse=True)
def seeded(torch):
    """Random tensors are the same each time."""
    torch.manual_seed(0)


def made(torch, models, name):
    torch.manual_seed(0)
    model = getattr(models, name)()
    model(torch.randn(4, 3, 8, 8))
    return model.eval()


@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize("name", ["ResNet", "TutorialCNN", "sequential"])
def test_a_model_and_its_conversions_compute_the_same(torch, ours, models, name, accelerated):
    model = made(torch, models, name)
    x = torch.randn(2, 3, 8, 8)
    expected = model(x).detach()
    if accelerated:
        ours.accelerate(model)
    there = ours.to_bn(model)
    back = ours.from_bn(there)
    np.testing.assert_allclose(there(x.numpy()), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(back(x), expected)
    assert list(model.state_dict()) == list(there.state_dict()) == list(back.state_dict())


def test_a_converted_model_trains(torch, ours, models):
    model = made(torch, models, "ResNet").double().train()
    there = ours.to_bn(model)
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    model(x).square().sum().backward()
    y = there(x.numpy())
    there.backward(2 * y)
    for (_, value), parameter in zip(there.named_parameters(), model.parameters(), strict=True):
        np.testing.assert_allclose(value.grad, parameter.grad, rtol=1e-6, atol=1e-8)


def test_a_converted_model_serves_without_pytorch(torch, ours, models, tmp_path):
    model = made(torch, models, "ResNet")
    x = torch.randn(2, 3, 8, 8)
    file = tmp_path / "model"
    file.write_bytes(pickle.dumps((ours.to_bn(model), x.numpy(), model(x).detach().numpy())))
    code = (
        "import pickle, sys, numpy as np\n"
        f"model, x, y = pickle.load(open({str(file)!r}, 'rb'))\n"
        "assert np.allclose(model(x), y, atol=1e-5)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_recurrent_layers_are_converted(torch, ours):
    layer = torch.nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True)
    x = torch.randn(2, 5, 3)
    expected = layer(x)[0].detach()
    there = ours.to_bn(layer)
    np.testing.assert_allclose(there(x.numpy())[0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.from_bn(there)(x)[0], expected)


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2", "vgg11_bn"])
def test_known_models_of_bn_become_pytorchs(torch, ours, name):
    model = getattr(nn.models, name)(rng=0).eval()
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
    found = ours.from_bn(model)(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(found, model(x), rtol=1e-3, atol=1e-5)


def test_the_model_is_copied_and_not_changed(torch, ours, models):
    model = made(torch, models, "sequential")
    ours.accelerate(model)
    kind = type(model[1])
    ours.to_bn(model)[0].weight[...] = 0
    assert type(model[1]) is kind
    assert model[0].weight.abs().sum() > 0


def test_modes_of_layers_are_kept(torch, ours, models):
    model = made(torch, models, "ResNet").train()
    model.layers[0].eval()
    there = ours.to_bn(model)
    assert there.training
    assert not there.layers[0].bn1.training
    assert ours.from_bn(there).layers[1].training


def test_what_has_no_counterpart_is_named(torch, ours, models):
    for model, words in (
        (torch.nn.Sequential(torch.nn.Softshrink()), "got Softshrink at 0"),
        (torch.nn.Conv2d(1, 1, 3, padding_mode="reflect", padding=1), "padding_mode must be zeros"),
        (models.Branching(), "more than calls"),
    ):
        with pytest.raises(TypeError, match=words):
            ours.to_bn(model)
    with pytest.raises(TypeError, match="axis must be 1, got -1"):
        ours.from_bn(nn.Conv2d(1, 1, 3, axis=-1))
    with pytest.raises(TypeError, match="got GroupNormalization at 0: PyTorch has no such layer"):
        ours.from_bn(nn.Sequential(bn.GroupNormalization(1)))


# ---- layers, calls and arguments ----


@pytest.fixture
def conversions(torch):
    """Models to be converted."""
    return importlib.import_module("torch_conversions")


def test_layers_and_calls_of_both_sides_are_converted_there_and_back(torch, ours, conversions):
    images, signals = torch.randn(2, 3, 6, 6), torch.randn(2, 3, 8)
    cases = [(model, images) for model in conversions.TAKEN]
    cases += [(model, signals) for model in conversions.OF_SIGNALS]
    for model, x in cases:
        expected = model.eval()(x).detach()
        there = ours.to_bn(model)
        found = torch.from_numpy(there(x.numpy()))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=str(model))
        torch.testing.assert_close(ours.from_bn(there)(x), expected, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_converted_is_named_when_it_is_converted(ours, conversions):
    for model, words in conversions.REFUSED:
        with pytest.raises(TypeError, match=words):
            ours.to_bn(model)


def test_a_layer_that_is_used_twice_is_one_layer_on_the_other_side(ours, conversions):
    there = ours.to_bn(conversions.repeated())
    assert there[0] is there[2]
    back = ours.from_bn(there)
    assert back[0] is back[2]


def test_parameters_that_do_not_train_do_not_train_on_the_other_side(torch, ours):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    model[0].weight.requires_grad_(False)
    model[1].bias.requires_grad_(False)
    there = ours.to_bn(model)
    frozen = [name for name, value in there.named_parameters() if not value.trainable]
    assert frozen == ["0.weight", "1.bias"]
    back = ours.from_bn(there)
    assert [n for n, value in back.named_parameters() if not value.requires_grad] == frozen


def test_joined_values_get_gradients_on_pytorchs_side(torch, ours):
    class Joining(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(2, 2, rng=0)

        def forward(self, x):
            return nn.concatenate([self.fc(x), x], axis=1)

    model = ours.from_bn(Joining())
    x = torch.ones(1, 2, requires_grad=True)
    model(x).sum().backward()
    torch.testing.assert_close(x.grad, 1 + model.fc.weight.sum(dim=0, keepdim=True).detach())
    with torch.no_grad():
        assert isinstance(model(x), torch.Tensor)


def test_a_unet_becomes_pytorchs(torch, ours):
    model = nn.models.unet(widths=(4, 8), rng=0).eval()
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8), dtype=np.float32)
    found = ours.from_bn(model)(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(found, model(x), rtol=1e-3, atol=1e-5)


def test_steps_say_how_many_inputs_they_take(torch, ours, conversions):
    x = np.ones((1, 3, 2, 2), np.float32)
    with pytest.raises(TypeError, match=r"a model of steps takes 1 \(x\), got 2"):
        ours.to_bn(conversions.JoinedTuple())(x, x)


def test_a_single_layer_is_converted_after_accelerate_as_before(torch, ours):
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.LayerNorm(3))
    ours.accelerate(model)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 3), dtype=np.float32)
    for layer in (model[0], model[2]):
        expected = layer(torch.from_numpy(x)).detach()
        np.testing.assert_allclose(bn.convert.from_torch(layer)(x), expected, rtol=1e-4, atol=1e-5)


def test_a_class_of_ones_own_is_no_layer_of_pytorch_after_accelerate_either(torch, ours):
    class BatchNorm2d(torch.nn.Sequential):
        original = None

    with pytest.raises(TypeError, match="must be of a class of the framework itself"):
        bn.convert.from_torch(BatchNorm2d())


def test_graphs_of_fused_models_are_traced_after_restore(torch, ours):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3), torch.nn.ReLU())
    ours.accelerate(model)
    with pytest.raises(torch.fx.proxy.TraceError):
        torch.fx.symbolic_trace(model)
    ours.restore(model)
    assert len(torch.fx.symbolic_trace(model).graph.nodes) == 5
