"""The models have the names, numbers of parameters and shapes that are known, and they train."""

import math

import numpy as np
import pytest
from arrays import normal, same_state, state
from gradcheck import gradcheck

from bn import nn
from bn.nn import models
from bn.nn.models.initialization import initialize

F32, F64 = np.float32, np.float64


@pytest.fixture
def undrawn(monkeypatch):
    """Weights are zeros that nobody drew, which takes neither time nor memory."""
    monkeypatch.setattr(
        nn.init, "uniform_fan_in", lambda rng, shape, fan_in, dtype: np.zeros(shape, dtype)
    )
    for module in (models.resnet, models.vgg, models.mobilenet):
        monkeypatch.setattr(module, "initialize", lambda *_, **__: None)


def resnet_of(block, blocks=(1, 1, 1, 1), **options):
    """Make a narrow ResNet."""
    return models.ResNet(block, blocks, width=8, rng=0, **options)


def parameters(model):
    return sum(p.size for p in model.parameters())


# ---- names and numbers of parameters ----

NORM = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def norm(path):
    return [f"{path}.{name}" for name in NORM]


def conv_norm(conv, bn):
    """Return the names of a convolution without bias and of a batch normalization."""
    return [f"{conv}.weight", *norm(bn)]


def linear(path):
    return [f"{path}.weight", f"{path}.bias"]


def resnet_names(blocks, convolutions, first_widens):
    names = conv_norm("conv1", "bn1")
    for stage, count in enumerate(blocks, 1):
        for i in range(count):
            block = f"layer{stage}.{i}"
            for k in range(1, convolutions + 1):
                names += conv_norm(f"{block}.conv{k}", f"{block}.bn{k}")
            if i == 0 and (stage > 1 or first_widens):
                names += conv_norm(f"{block}.downsample.0", f"{block}.downsample.1")
    return names + linear("fc")


def vgg11_names():
    # Three layers for each convolution, and one for the pooling after those marked True.
    names, place = [], 0
    for pooled in (True, True, False, True, False, True, False, True):
        conv = f"features.{place}"
        names += [*linear(conv), *norm(f"features.{place + 1}")]
        place += 4 if pooled else 3
    return names + [name for i in (0, 3, 6) for name in linear(f"classifier.{i}")]


def mobilenet_names():
    names = conv_norm("features.0.0", "features.0.1")
    for block in range(1, 18):
        at, place = f"features.{block}.conv", 0
        for _ in range(1 if block == 1 else 2):
            names += conv_norm(f"{at}.{place}.0", f"{at}.{place}.1")
            place += 1
        names += conv_norm(f"{at}.{place}", f"{at}.{place + 1}")
    return [*names, *conv_norm("features.18.0", "features.18.1"), *linear("classifier.1")]


def unet_names(sizes):
    def double(path):
        return [n for i in (1, 2) for n in conv_norm(f"{path}.conv{i}", f"{path}.bn{i}")]

    names = [name for i in range(sizes) for name in double(f"down.{i}")]
    names += [name for i in range(sizes - 1) for name in linear(f"up.{i}")]
    return names + [n for i in range(sizes - 1) for n in double(f"join.{i}")] + linear("head")


NAMES = {
    "resnet20": resnet_names((3, 3, 3), 2, False),
    "resnet32": resnet_names((5, 5, 5), 2, False),
    "resnet56": resnet_names((9, 9, 9), 2, False),
    "resnet18": resnet_names((2, 2, 2, 2), 2, False),
    "resnet34": resnet_names((3, 4, 6, 3), 2, False),
    "resnet50": resnet_names((3, 4, 6, 3), 3, True),
    "vgg11_bn": vgg11_names(),
    "mobilenet_v2": mobilenet_names(),
    "lenet": [n for layer in ("conv1", "conv2", "fc1", "fc2", "fc3") for n in linear(layer)],
    "unet": unet_names(4),
    "CNNWithBatchNorm": [*linear("conv1"), *norm("bn1"), *linear("fc1")],
    "DeepCNNWithBatchNorm": [
        *(name for i in (1, 2, 3) for name in (*linear(f"conv{i}"), *norm(f"bn{i}"))),
        *linear("fc1"),
    ],
}

COUNTS = {
    "lenet": 61_706,
    "unet": 482_754,
    # The paper's 269,722 with option A, and two shortcuts of 16 * 32 + 2 * 32 and 32 * 64 + 2 * 64.
    "resnet20": 269_722 + 576 + 2176,
    "resnet32": 464_154 + 576 + 2176,
    "resnet56": 853_018 + 576 + 2176,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "vgg11_bn": 132_868_840,
    "mobilenet_v2": 3_504_872,
    "CNNWithBatchNorm": 3 * 9 * 16 + 16 + 2 * 16 + 4096 * 10 + 10,
    "DeepCNNWithBatchNorm": 9 * (3 * 32 + 32 * 64 + 64 * 128) + 3 * 224 + 2048 * 10 + 10,
}


@pytest.mark.parametrize("name", NAMES)
def test_states_have_the_known_names_and_models_the_known_number_of_parameters(name, undrawn):
    model = getattr(models, name)()
    assert [path for path, _ in model.named_state()] == NAMES[name]
    assert parameters(model) == COUNTS[name]


def test_every_function_that_makes_a_model_is_tested():
    functions = {name for name in models.__all__ if name[0].islower()}
    assert functions == {name for name in NAMES if name[0].islower()} | {"text_classifier"}


def test_a_classifier_of_texts_has_these_names_and_shapes():
    model = models.text_classifier(50, 3, 8, 16, bidirectional=True, rng=0)
    lstm = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    names = [f"lstm.{name}{end}" for end in ("", "_reverse") for name in lstm]
    expected = ["embedding.weight", *names, *linear("norm"), *linear("head")]
    assert [path for path, _ in model.named_state()] == expected
    directions = 2 * (64 * 8 + 64 * 16 + 2 * 64)
    assert parameters(model) == 50 * 8 + directions + 2 * 32 + 32 * 3 + 3
    assert model.output_shape((7,)) == (3,)


# ---- shapes ----


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet20", (3, 32, 32)),
        ("resnet18", (3, 224, 224)),
        ("resnet34", (3, 224, 224)),
        ("resnet50", (3, 224, 224)),
        ("vgg11_bn", (3, 224, 224)),
        ("mobilenet_v2", (3, 224, 224)),
        ("CNNWithBatchNorm", (3, 32, 32)),
        ("DeepCNNWithBatchNorm", (3, 32, 32)),
        ("lenet", (1, 28, 28)),
    ],
)
def test_a_model_has_an_output_for_each_class(name, shape, undrawn):
    smaller = {"hidden_features": 16} if name == "vgg11_bn" else {}
    model = getattr(models, name)(**smaller)
    assert model.output_shape(shape) == ((1000,) if shape[1] == 224 else (10,))


@pytest.mark.parametrize(
    "make",
    [
        models.resnet20,
        models.mobilenet_v2,
        lambda *numbers, **o: models.ResNet(models.Bottleneck, [1] * 4, *numbers, width=8, **o),
        lambda *numbers, **o: models.VGG([[2]] * 5, *numbers, hidden_features=3, **o),
    ],
)
def test_images_of_other_sizes_and_channels_are_taken(make):
    model = make(7, 1, rng=0)
    assert model(normal(2, 1, 40, 43, dtype=F32)).shape == (2, 7)


def test_tutorial_networks_take_the_size_of_the_images():
    for kind in (models.CNNWithBatchNorm, models.DeepCNNWithBatchNorm):
        assert kind(5, 1, 28, rng=0)(normal(2, 1, 28, 28, dtype=F32)).shape == (2, 5)


def test_a_lenet_takes_the_size_of_the_images():
    assert models.lenet(5, 3, image_size=32, rng=0)(normal(2, 3, 32, 32, dtype=F32)).shape == (2, 5)


def test_a_unet_has_an_output_for_each_class_at_each_pixel():
    model = models.unet(5, 1, widths=(4, 6, 8), rng=0)
    assert model(normal(2, 1, 12, 20, dtype=F32)).shape == (2, 5, 12, 20)
    assert models.unet(5, 1, widths=(4,), rng=0).output_shape((1, 3, 7)) == (5, 3, 7)
    message = r"UNet takes images whose height and width are multiples of 4, got \(12, 18\)"
    with pytest.raises(ValueError, match=message):
        model(normal(2, 1, 12, 18, dtype=F32))
    message = r"UNet takes images of shape \(N, C, H, W\), got shape \(1, 12, 20\)"
    with pytest.raises(ValueError, match=message):
        model(normal(1, 12, 20, dtype=F32))


@pytest.mark.parametrize("widths", [(), 8, None])
def test_a_unet_needs_a_width(widths):
    with pytest.raises(ValueError, match="widths must be a tuple of one number of channels or"):
        models.unet(widths=widths)


def test_the_image_is_a_32nd_in_front_of_the_last_pooling():
    for block, channels in ((models.BasicBlock, 64), (models.Bottleneck, 256)):
        model, seen = resnet_of(block), []
        model.layer4.register_forward_hook(lambda layer, x, y, seen=seen: seen.append(y.shape))
        model(normal(2, 3, 64, 64, dtype=F32))
        assert seen == [(2, channels, 2, 2)]


def test_the_summary_of_a_model_has_its_blocks(capsys):
    models.resnet20(rng=0).summary((3, 32, 32))
    text = capsys.readouterr().out
    assert "downsample" in text and "BasicBlock" in text and "272,474" in text


def test_vgg_refuses_images_of_less_than_32_pixels():
    model = models.VGG([[2]] * 5, hidden_features=4, rng=0)
    assert model.output_shape((3, 32, 32)) == (1000,)
    with pytest.raises(ValueError, match=r"^in features\.19: MaxPool2d"):
        model.output_shape((3, 31, 32))


# ---- parts ----


BLOCKS = {
    "BasicBlock": lambda **f64: models.BasicBlock(4, 4, **f64),
    "BasicBlock with a stride": lambda **f64: models.BasicBlock(4, 6, 2, **f64),
    "Bottleneck": lambda **f64: models.Bottleneck(4, 1, **f64),
    "Bottleneck with a stride": lambda **f64: models.Bottleneck(4, 2, 2, **f64),
    "DoubleConv": lambda **f64: models.DoubleConv(4, 3, **f64),
    "InvertedResidual": lambda **f64: models.InvertedResidual(4, 4, 1, 2, **f64),
    "InvertedResidual without expansion": lambda **f64: models.InvertedResidual(4, 2, 2, 1, **f64),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_have_the_right_gradients(name):
    gradcheck(BLOCKS[name](dtype=F64, rng=0), normal(2, 4, 5, 5), entries=20)


def test_a_resnet_has_the_right_gradients():
    gradcheck(models.resnet20(dtype=F64, rng=0), normal(2, 3, 8, 8), entries=2)


@pytest.mark.parametrize("training", [True, False])
def test_small_models_have_the_right_gradients(training):
    for model in (
        models.CifarResNet(1, dtype=F64, rng=0),
        models.VGG([[3], [4]], 5, hidden_features=6, dropout=0, dtype=F64, rng=0),
        models.CNNWithBatchNorm(3, image_size=8, dtype=F64, rng=0),
        models.DeepCNNWithBatchNorm(3, image_size=8, dtype=F64, rng=0),
        models.LeNet(3, 3, image_size=12, dtype=F64, rng=0),
        models.UNet(2, 3, widths=(2, 3, 4), dtype=F64, rng=0),
    ):
        for p in model.parameters():
            p.data += 0.1 * normal(*p.shape)
        size = 12 if isinstance(model, models.LeNet) else 8
        gradcheck(model.train(training), normal(2, 3, size, size), entries=4)


# ---- weights ----


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: models.CifarResNet(1, **o),
        lambda **o: models.VGG([[2]], hidden_features=3, **o),
        lambda **o: models.InvertedResidual(4, 4, 1, 2, **o),
        lambda **o: models.UNet(widths=(2, 3), **o),
        models.LeNet,
        models.CNNWithBatchNorm,
        models.DeepCNNWithBatchNorm,
    ],
)
def test_one_generator_draws_all_parameters(make):
    first = state(make(rng=3))
    assert same_state(state(make(rng=np.random.default_rng(3))), first)
    assert not same_state(state(make(rng=4)), first)
    double = state(make(rng=3, dtype=F64))
    for name, array in first.items():
        if not name.endswith("num_batches_tracked"):
            assert array.dtype == F32 and double[name].dtype == F64
            np.testing.assert_array_equal(double[name].astype(F32), array)
    with pytest.raises(TypeError, match="rng must be a seed"):
        make(rng="3")


def test_weights_of_convolutions_have_the_variance_of_their_outputs():
    model = resnet_of(models.BasicBlock)
    weights = {name: p for name, p in model.named_parameters() if p.data.ndim == 4}
    assert len(weights) == 12
    for name, p in weights.items():
        fan_out = p.shape[0] * p.shape[2] * p.shape[3]
        tolerance = 4 / math.sqrt(2 * p.size)  # four standard deviations
        assert abs(p.data.std() / math.sqrt(2 / fan_out) - 1) < tolerance, name


def test_linear_layers_are_drawn_where_that_is_asked_for():
    layer = nn.Linear(100, 100, rng=0)
    before = state(layer)
    initialize(layer, np.random.default_rng(0))
    assert same_state(state(layer), before)
    initialize(layer, np.random.default_rng(0), linear_std=0.01)
    assert abs(layer.weight.data.std() / 0.01 - 1) < 0.03 and not layer.bias.data.any()
    model = models.mobilenet_v2(10, rng=0)
    assert abs(model.classifier[1].weight.data.std() / 0.01 - 1) < 0.03
    conv = nn.Conv2d(3, 4, 3, rng=0)
    initialize(conv, np.random.default_rng(0))
    assert not conv.bias.data.any()


# ---- training ----


def unet_and_linear():
    unet = models.UNet(8, widths=(4, 8), rng=0)
    return nn.Sequential(unet, nn.Flatten(), nn.Linear(2048, 10, rng=1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: models.CifarResNet(1, rng=0),
        lambda: models.MobileNetV2(10, dropout=0, rng=0),
        lambda: models.CNNWithBatchNorm(image_size=16, rng=0),
        lambda: models.DeepCNNWithBatchNorm(image_size=16, rng=0),
        lambda: models.VGG([[8], [8]], 10, hidden_features=16, dropout=0, rng=0),
        lambda: models.LeNet(in_channels=3, image_size=16, rng=0),
        lambda: nn.Sequential(
            models.UNet(8, widths=(4, 8), rng=0), nn.Flatten(), nn.Linear(2048, 10, rng=1)
        ),
    ],
)
def test_a_step_of_training_lowers_the_loss(make):
    model, criterion = make(), nn.CrossEntropyLoss()
    x, target = normal(16, 3, 16, 16, dtype=F32), np.arange(16) % 10
    optimizer = nn.SGD(model.parameters(), lr=0.02)
    losses = []
    for _ in range(3):
        losses.append(criterion(model(x), target))
        optimizer.zero_grad()
        assert model.backward(criterion.backward(), input_grad=False) is None
        optimizer.step()
    assert losses[0] > losses[1] > losses[2]


def test_dropout_is_applied_in_training_only():
    model = models.VGG([[4]], 3, hidden_features=16, rng=0)
    x = normal(4, 3, 14, 14, dtype=F32)
    assert not np.array_equal(model(x), model(x))
    model.eval()
    np.testing.assert_array_equal(model(x), model(x))
