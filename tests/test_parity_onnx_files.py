"""ONNX Runtime and a loaded model compute what the model does of which a file was made."""

import warnings

import numpy as np
import pytest
from onnx_models import LAYERS, MODELS, TwoInputs, samples, settled

import bn
from bn import nn

pytestmark = pytest.mark.parity
BOUND = 1e-5  # of the largest output


@pytest.fixture(scope="module")
def runtime():
    pytest.importorskip("onnx")
    return pytest.importorskip("onnxruntime")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def run(runtime, path, *inputs):
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


def assert_close(found, expected):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert np.abs(found - expected).max() <= BOUND * max(1, np.abs(expected).max())


def assert_same(runtime, path, model, x, loads=True):
    """Assert that ONNX Runtime and the loaded model compute what the model does, for any batch."""
    for batch in (x, x[:1]):
        expected = model(batch)
        assert_close(run(runtime, path, batch)[0], expected)
        if loads:
            assert_close(bn.onnx.load(path)(batch), expected)


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_computes_the_same_there_and_back(runtime, path, name):
    make, shape = LAYERS[name]
    model = settled(nn.Sequential(make()), shape)
    bn.onnx.export(model, path, shape)
    assert_same(runtime, path, model, samples(shape))


@pytest.mark.parametrize("name", MODELS)
def test_each_model_computes_the_same_there_and_back(runtime, path, name):
    make, shape = MODELS[name]
    model = settled(make(), shape)
    bn.onnx.export(model, path, shape)
    assert_same(runtime, path, model, samples(shape))


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2"])
def test_a_folded_model_computes_the_same(runtime, path, name):
    make, shape = MODELS[name]
    model = settled(make(), shape)
    bn.onnx.export(bn.fold(model, shape).model, path, shape)
    assert_close(run(runtime, path, samples(shape))[0], model(samples(shape)))


@pytest.mark.parametrize("opset", [21, 22, 23])
def test_rms_normalization_computes_the_same_in_each_opset(runtime, path, opset):
    model = settled(nn.Sequential(bn.RMSNorm(5), bn.RMSNorm((4, 5), 1e-3)), (4, 5))
    model[0].weight.data[...] = np.arange(5)
    bn.onnx.export(model, path, (4, 5), opset=opset)
    assert_same(runtime, path, model, samples((4, 5)), loads=opset == 23)


def test_an_embedding_takes_integers(runtime, path):
    model = nn.Sequential(nn.Embedding(10, 4, rng=0), nn.Linear(4, 2, rng=1)).eval()
    bn.onnx.export(model, path, (6,))
    assert_same(runtime, path, model, np.arange(18).reshape(3, 6) % 10)


def test_a_model_has_several_inputs_with_the_names_of_its_arguments(runtime, path):
    import onnx

    model, inputs = TwoInputs().eval(), (samples((3,)), samples((4,)))
    bn.onnx.export(model, path, [(3,), (4,)])
    assert [each.name for each in onnx.load(path).graph.input] == ["left", "right"]
    assert_close(run(runtime, path, *inputs)[0], model(*inputs))
    assert_close(bn.onnx.load(path)(*inputs), model(*inputs))


def normalizations():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, rng=0),
        bn.preset("keras", 4, axis=1),
        nn.ReLU(),
        bn.BatchNorm2d(4),
        bn.BatchNorm2d(4, track_running_stats=False),
        bn.BatchNorm2d(4, affine=False),
    )


def test_batch_normalization_in_training_takes_the_statistics_of_the_batch(runtime, path):
    model, shape = settled(normalizations(), (3, 6, 6)), (3, 6, 6)
    frozen = bn.freeze(model[5])
    bn.onnx.export(model, path, shape, training=True)
    x = samples(shape, 8)
    y, *new = run(runtime, path, x)
    there = bn.onnx.load(path)
    assert_close(y, model.train()(x))
    assert not frozen.train_affine
    assert_close(new[0], model[1].running_mean)
    assert_close(new[1], model[1].running_var)
    assert_close(there(x), y)
    assert_close(there.state_dict()["1.running_var"], new[1])


def test_names_of_running_statistics_stand_in_the_file(runtime, path):
    import onnx

    model = settled(normalizations(), (3, 6, 6))
    bn.onnx.export(model, path, (3, 6, 6), training=True)
    names = [each.name for each in onnx.load(path).graph.output]
    assert names[:3] == ["y", "1.running_mean:new", "1.running_var:new"]


# ---- PyTorch's files ----


def lstm(torch):
    class Reader(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(10, 6)
            self.lstm = torch.nn.LSTM(6, 5, batch_first=True, bidirectional=True)
            self.norm, self.fc = torch.nn.LayerNorm(10), torch.nn.Linear(10, 3)

        def forward(self, x):
            return self.fc(self.norm(self.lstm(self.embedding(x))[0])).mean(1)

    return Reader()


def smooth(torch):
    n = torch.nn
    return n.Sequential(
        n.Linear(4, 6), n.GELU(), n.Linear(6, 6), n.SiLU(), n.Hardswish(), n.ELU(), n.Softplus(),
        n.PReLU(), n.Dropout(), n.LogSoftmax(-1),
    )  # fmt: skip


def larger(torch):
    n = torch.nn
    return n.Sequential(
        n.Conv2d(3, 4, 3), n.GroupNorm(2, 4), n.ConvTranspose2d(4, 2, 2, 2),
        n.Upsample(scale_factor=2, mode="bilinear"), n.InstanceNorm2d(2, affine=True),
        n.ZeroPad2d(1), n.ReLU6(), n.AvgPool2d(2), n.AdaptiveAvgPool2d(1), n.Flatten(),
    )  # fmt: skip


def sized(torch):
    class Sized(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 4, padding="same", dilation=(1, 2))
            self.fc = torch.nn.Linear(4 * 30, 2)

        def forward(self, x):
            y = torch.nn.functional.interpolate(self.conv(x), size=(5, 6), mode="bilinear")
            y = y.reshape(y.shape[0], y.shape[1], -1)
            return self.fc(y.view(y.size(0), -1))

    return Sized()


@pytest.mark.parametrize("axes", [None, {"x": {0: "N"}}])
@pytest.mark.parametrize(
    "name", ["ResNet", "TutorialCNN", "sequential", "lstm", "smooth", "larger", "sized"]
)
def test_a_file_of_pytorch_becomes_a_model_that_computes_the_same(
    torch, models, runtime, path, name, axes
):
    torch.manual_seed(0)
    own = {"lstm": lstm, "smooth": smooth, "larger": larger, "sized": sized}
    model = (own[name](torch) if name in own else getattr(models, name)()).eval()
    x = torch.randint(0, 10, (2, 7)) if name == "lstm" else torch.randn(2, 3, 8, 8)
    x = torch.randn(2, 4) if name == "smooth" else x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the older exporter, which needs no further package
        torch.onnx.export(
            model, (x,), path, dynamo=False, opset_version=20, input_names=["x"], dynamic_axes=axes
        )
    there = bn.onnx.load(path)
    assert_close(there(x.numpy()), model(x).detach().numpy())
    if axes is not None:
        assert_close(there(x[:1].numpy()), model(x[:1]).detach().numpy())
    assert there.backward(np.ones_like(there(x.numpy())), input_grad=False) is None


def test_a_model_that_came_from_pytorch_goes_on_to_onnx(torch, models, runtime, path):
    torch.manual_seed(0)
    ours = bn.torch.to_bn(models.ResNet().eval())
    bn.onnx.export(ours, path, (3, 8, 8))
    assert_same(runtime, path, ours, samples((3, 8, 8)))


def test_training_files_of_pytorch_keep_their_names(torch, models, path):
    model = models.ResNet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training = torch.onnx.TrainingMode.TRAINING
        torch.onnx.export(
            model, (torch.randn(2, 3, 8, 8),), path, dynamo=False, opset_version=20,
            training=training, do_constant_folding=False,
        )  # fmt: skip
    assert set(bn.onnx.load(path).state_dict()) == set(model.state_dict())
