"""The networks of `train` fit any images, and each has a twin."""

import numpy as np
import pytest

import bn
from bn import nn
from bn.cli.models import RECIPES, build, large_weights
from bn.cli.norms import NORMS as NORM_NAMES

NORMS = (bn.BatchNorm2d, bn.BatchNormalization)
OWN = ("digits", "tutorial-torch", "tutorial-keras", "resnet")


def weights(model):
    """Return the arrays of all that is not batch normalization's, in order."""
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    return [p.data for layer in layers for p in layer.parameters()]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 5, 7)])
def test_a_network_gives_a_number_per_class_for_images_of_any_size(name, shape):
    for norm in NORM_NAMES:
        if name not in OWN and norm != "batch":
            continue
        model = build(name, shape, 7, norm=norm)
        x = np.zeros((2, *shape), np.float32)
        if RECIPES[name].axis == -1:
            x = x.transpose(0, 2, 3, 1)
        probabilities = RECIPES[name].probabilities(model.eval()(x))
        assert probabilities.shape == (2, 7)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_the_twin_of_a_network_has_the_same_weights_and_no_batch_normalization(name):
    model = build(name, (3, 8, 8), 10, norm="batch", seed=5)
    twin = build(name, (3, 8, 8), 10, norm="none", seed=5)
    assert any(isinstance(m, NORMS) for m in model.modules())
    assert not any(isinstance(m, NORMS) for m in twin.modules())
    for a, b in zip(weights(model), weights(twin), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", RECIPES)
def test_the_seed_decides_the_weights_of_a_network(name):
    first, again, other = (
        weights(build(name, (1, 8, 8), 10, norm="batch", seed=seed)) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    drawn = [(a, b) for a, b in zip(first, other, strict=True) if a.any()]  # some biases begin at 0
    assert drawn and not any(np.array_equal(a, b) for a, b in drawn)


def test_images_too_small_for_two_poolings_are_refused():
    with pytest.raises(ValueError) as error:
        build("digits", (1, 3, 9), 10, norm="batch")
    assert str(error.value) == "images of digits must have at least 4 x 4 pixels, got 3 x 9"


def test_the_tutorials_networks_have_the_tutorials_parameters():
    torch_like = build("tutorial-torch", (3, 32, 32), 10, norm="batch")
    assert [p.shape for p in torch_like.parameters()] == [
        *[(16, 3, 3, 3), (16,)],
        *[(16,), (16,)],
        *[(10, 16 * 16 * 16), (10,)],
    ]
    keras_like = build("tutorial-keras", (3, 32, 32), 10, norm="batch")
    # 448 + 32 + 524,416 + 256 + 1,290
    assert sum(p.size for p in keras_like.parameters()) == 526442
    assert isinstance(list(keras_like.modules())[-1], nn.Softmax)


@pytest.mark.parametrize("name", RECIPES)
def test_the_shapes_of_a_design_are_those_of_the_network(name):
    shapes = large_weights(name, "batch", (3, 9, 12), 7)
    model = build(name, (3, 9, 12), 7, norm="batch")
    linear = [m.weight.data.shape for m in model.modules() if isinstance(m, nn.Linear)]
    assert set(linear) <= set(shapes.values())
    assert shapes.items() <= {name: a.shape for name, a in model.named_state()}.items()


def test_images_of_more_than_a_million_pixels_are_refused_before_memory_is_taken():
    message = "images of resnet must have at most 1048576 pixels, got 1025 x 1024"
    with pytest.raises(ValueError, match=message):
        build("resnet", (1, 1025, 1024), 10, norm="batch")


@pytest.mark.parametrize("name", [*OWN, "resnet20", "mobilenet-v2"])
@pytest.mark.parametrize("norm", ["group", "layer", "instance"])
def test_another_normalization_stands_in_the_place_of_batch_normalization(name, norm):
    model = build(name, (3, 16, 16), 10, norm=norm, seed=5)
    twin = build(name, (3, 16, 16), 10, norm="batch", seed=5)
    layers = [m for m in model.modules() if isinstance(m, bn.GroupNorm)]
    expected = sum(isinstance(m, NORMS) for m in twin.modules())
    # The dense layer of Keras's tutorial has no pixels of its own.
    assert len(layers) == expected - (name == "tutorial-keras" and norm == "instance")
    assert not any(isinstance(m, NORMS) for m in model.modules())
    groups = {layer.num_groups / layer.num_channels for layer in layers}
    assert norm != "instance" or groups == {1.0}
    assert norm != "layer" or {layer.num_groups for layer in layers} == {1}
    for a, b in zip(weights(model), weights(twin), strict=True):
        np.testing.assert_array_equal(a, b)
