"""`bn.torch.to_bn` and `from_bn` make models of the other side that compute the same."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

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
    with pytest.raises(TypeError, match="got ZeroPad2d at 0: PyTorch has no such layer"):
        ours.from_bn(nn.Sequential(nn.ZeroPad2d(1)))
