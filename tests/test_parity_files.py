"""Files that PyTorch and Keras write go into models of `bn`, and theirs back."""

import importlib

import numpy as np
import pytest

import bn
from bn import nn

pytestmark = pytest.mark.parity
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras beside NumPy 2


def samples(shape):
    return np.random.default_rng(1).standard_normal((3, *shape)).astype(np.float32)


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_safetensors_of_its_own_package_are_read_and_written(torch, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    there = pytest.importorskip("safetensors.torch")
    state = {
        "w": torch.randn(3, 2), "half": torch.randn(4).half(), "brain": torch.randn(5).bfloat16(),
        "n": torch.tensor(7), "flags": torch.tensor([True, False]), "none": torch.zeros(0, 3),
    }  # fmt: skip
    there.save_file(state, tmp_path / "a.safetensors", {"by": "torch"})
    found = bn.load_state(tmp_path / "a.safetensors")
    assert found.metadata == {"by": "torch"}
    bn.save_state(tmp_path / "b.safetensors", found, found.metadata)
    back = there.load_file(tmp_path / "b.safetensors")
    assert back.keys() == state.keys() == found.keys()
    for name, tensor in state.items():
        assert torch.equal(back[name], tensor)
        assert np.array_equal(found[name].astype(float), tensor.double().numpy())
    with safetensors.safe_open(tmp_path / "b.safetensors", "np") as file:
        assert file.metadata() == {"by": "torch"}


def test_a_pytorch_models_safetensors_go_into_a_bn_model(torch, models, tmp_path):
    there = pytest.importorskip("safetensors.torch")
    theirs = models.TutorialCNN().eval()
    state = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    there.save_file(state, tmp_path / "a.safetensors")
    ours = bn.torch.to_bn(models.TutorialCNN()).eval()
    ours.load_state_dict(bn.match_state(ours, bn.load_state(tmp_path / "a.safetensors")))
    x = torch.randn(2, 3, 8, 8)
    assert_close(ours(x.numpy()), theirs(x).detach().numpy())


@quiet
def test_the_weights_of_a_keras_model_go_into_a_bn_model_and_back(keras, tmp_path):
    layers = keras.layers
    theirs = keras.Sequential([
        keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(),
        layers.DepthwiseConv2D(3), layers.Conv2D(4, 1), layers.Flatten(), layers.Dense(5),
        layers.Dense(5),
    ])  # fmt: skip
    ours = nn.Sequential(
        nn.Conv2d(3, 4, 3, axis=-1, rng=0), bn.BatchNormalization(), nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=4, axis=-1, rng=1), nn.Conv2d(4, 4, 1, axis=-1, rng=2),
        nn.Flatten(), nn.Linear(64, 5, rng=3), nn.Linear(5, 5, rng=4),
    )  # fmt: skip
    ours.build((8, 8, 3))
    path = tmp_path / "a.weights.h5"
    theirs.save_weights(path)
    state = bn.load_state(path)
    matched = bn.match_state(ours, state)
    assert matched.missing == matched.left_over == {}
    ours.eval().load_state_dict(matched)
    x = samples((8, 8, 3))
    assert_close(ours(x), np.asarray(theirs(x).detach()))
    bn.save_state(path, {name: 2 * array for name, array in state.items()})
    theirs.load_weights(path)
    kernel = state["layers/conv2d/vars/0"]
    np.testing.assert_array_equal(theirs.get_weights()[0], 2 * kernel)


@quiet
def test_the_legacy_files_of_keras_are_read_in_the_models_order(keras, tmp_path):
    layers = keras.layers
    theirs = keras.Sequential([
        keras.Input((3,)), layers.Dense(3, name="stem"), layers.Dense(3, name="body"),
    ])  # fmt: skip
    with importlib.import_module("h5py").File(tmp_path / "a.h5", "w") as file:
        saving = importlib.import_module("keras.src.legacy.saving.legacy_h5_format")
        saving.save_weights_to_hdf5_group(file, theirs)
    ours = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    ours.load_state_dict(bn.match_state(ours, bn.load_state(tmp_path / "a.h5")))
    x = samples((3,))
    assert_close(ours(x), np.asarray(theirs(x).detach()))


@quiet
def test_a_bfloat16_model_of_keras_is_read(keras, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="bfloat16")])
    model.save_weights(tmp_path / "a.weights.h5")
    found = bn.load_state(tmp_path / "a.weights.h5")
    for array, expected in zip(found.values(), model.get_weights(), strict=True):
        assert array.dtype.name == "bfloat16"
        np.testing.assert_array_equal(array.astype(float), np.asarray(expected, float))
