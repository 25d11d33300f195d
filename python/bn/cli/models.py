"""The networks of `bn train`, each with any of its normalizations, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bn import _check, nn
from bn.cli.norms import normalization, replace_batch_norm
from bn.module import Module
from bn.nn.models import mobilenet_v2, resnet18, resnet20, resnet32, resnet56
from bn.types import Array, Shape

LEAST_SIZE = 4  # pixels in height and width, since two poolings halve them twice
MOST_PIXELS = 2**20  # so that a small file cannot ask for images of gigabytes


def build(name: str, image_shape: Shape, classes: int, *, norm: str, seed: int = 0) -> Module:
    """Build one of `RECIPES` for images of `image_shape`, (C, H, W).

    The same seed gives the same weights with each normalization, since none draws random numbers.
    For that the convolutions of our own networks have biases in all of them, although batch
    normalization cancels a bias.
    """
    recipe = RECIPES[name]
    if recipe.known is not None:
        _check.model_image_size(name, image_shape[1:], LEAST_SIZE, MOST_PIXELS)
        known = recipe.known(classes, image_shape[0], rng=np.random.default_rng(seed))
        replace_batch_norm(known, norm)
        return known
    builder = design(name, image_shape, classes, norm=norm, seed=seed)
    model = nn.Sequential(*builder.layers)
    model.build(builder.input_shape)
    return model


def large_weights(name: str, norm: str, image_shape: Shape, classes: int) -> dict[str, Shape]:
    """Shapes of weights that make up most of a network, by their names in its state."""
    recipe = RECIPES[name]
    if recipe.known is None:
        return design(name, image_shape, classes, norm=norm).linear_shapes
    layer, (features, *_) = recipe.classifier, recipe.largest[1]
    return {f"{layer}.weight": (classes, features), recipe.largest[0]: recipe.largest[1]}


def design(name: str, image_shape: Shape, classes: int, *, norm: str, seed: int = 0) -> Builder:
    """Lay out the network of `build`, without the weights whose sizes the images decide."""
    _check.model_image_size(name, image_shape[1:], LEAST_SIZE, MOST_PIXELS)
    recipe = RECIPES[name]
    builder = Builder(recipe.axis, norm, np.random.default_rng(seed), image_shape)
    assert recipe.add_layers is not None
    recipe.add_layers(builder, classes)
    return builder


class Builder:
    """A network under construction: its layers so far, and the options that they share."""

    def __init__(self, axis: int, norm: str, rng: np.random.Generator, image_shape: Shape) -> None:
        self.axis, self.norm_name, self.rng = axis, norm, rng
        c, h, w = image_shape
        self.input_shape: Shape = (c, h, w) if axis == 1 else (h, w, c)
        self.shape: Shape = self.input_shape  # the input of the next layer
        self.layers: list[Module] = []
        self.linear_shapes: dict[str, Shape] = {}  # of the weights, by their names in the state

    def add(self, *layers: Module) -> None:
        for layer in layers:
            self.shape = layer.output_shape(self.shape)
            self.layers.append(layer)

    def norm(self, channels: int) -> list[Module]:
        """The normalization, or no layer in a network without it."""
        layer = normalization(self.norm_name, channels, self.axis, pixels=len(self.shape) == 3)
        return [] if layer is None else [layer]

    def conv(self, c_in: int, c_out: int, kernel_size: int = 3, stride: int = 1) -> list[Module]:
        """A convolution whose padding is half the kernel, then the normalization."""
        conv = nn.Conv2d(
            c_in,
            c_out,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            axis=self.axis,
            rng=self.rng,
        )
        return [conv, *self.norm(c_out)]

    def add_conv(self, c_out: int) -> None:
        c_in = self.shape[0 if self.axis == 1 else -1]
        self.add(*self.conv(c_in, c_out), nn.ReLU())

    def add_pool(self) -> None:
        self.add(nn.MaxPool2d(kernel_size=2, stride=2, axis=self.axis))

    def add_linear(self, features: int) -> None:
        self.linear_shapes[f"{len(self.layers)}.weight"] = (features, self.shape[0])
        self.add(nn.Linear(None, features, rng=self.rng))


def add_digits(builder: Builder, classes: int) -> None:
    builder.add_conv(32)
    builder.add_conv(32)
    builder.add_pool()
    builder.add_conv(64)
    builder.add_pool()
    builder.add(nn.Flatten())
    builder.add_linear(classes)


def add_torch(builder: Builder, classes: int) -> None:
    builder.add_conv(16)
    builder.add_pool()
    builder.add(nn.Flatten())
    builder.add_linear(classes)


def add_keras(builder: Builder, classes: int) -> None:
    builder.add_conv(16)
    builder.add_pool()
    builder.add(nn.Flatten())
    builder.add_linear(128)
    builder.add(*builder.norm(128), nn.ReLU())
    builder.add_linear(classes)
    builder.add(nn.Softmax())


def add_resnet(builder: Builder, classes: int) -> None:
    """ResNet-8: He et al. (2016), section 4.2, with n = 1."""
    builder.add_conv(16)
    for c_out, stride in ((16, 1), (32, 2), (64, 2)):
        c_in = builder.shape[0]
        body = nn.Sequential(
            *builder.conv(c_in, c_out, stride=stride), nn.ReLU(), *builder.conv(c_out, c_out)
        )
        # Option B of the paper: a 1 x 1 convolution where the shape changes, else the identity.
        shortcut = None
        if stride != 1:
            shortcut = nn.Sequential(*builder.conv(c_in, c_out, kernel_size=1, stride=stride))
        builder.add(nn.Residual(body, shortcut), nn.ReLU())
    builder.add(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    builder.add_linear(classes)


@dataclass(frozen=True)
class Recipe:
    """How to build a network.

    Attributes
    ----------
    summary : str
        Its line in the help.
    add_layers : callable
        Adds its layers to a builder, for a number of classes.
    axis : {1, -1}
        Its channel axis.
    from_logits : bool
        Whether its output is logits; otherwise it is probabilities.
    known : callable or None
        Makes a model of `bn.nn.models` instead, for a number of classes and of input channels.
    classifier : str
        The path of its last layer.
    largest : (str, shape)
        The name and the shape of the largest weight before that, whose first axis has as many
        channels as the classifier takes.
    """

    summary: str
    add_layers: Callable[[Builder, int], None] | None
    axis: int = 1
    from_logits: bool = True
    known: Callable[..., Module] | None = None
    classifier: str = "fc"
    largest: tuple[str, Shape] = ("layer3.2.conv2.weight", (64, 64, 3, 3))

    def probabilities(self, y: Array) -> Array:
        """The probabilities, (N, classes), for an output of the network."""
        return nn.Softmax()(y) if self.from_logits else y


RECIPES = {
    "digits": Recipe("three 3x3 convolutions of 32, 32, 64 channels (default)", add_digits),
    "tutorial-torch": Recipe("PyTorch's tutorial: one convolution, one linear layer", add_torch),
    "tutorial-keras": Recipe(
        "Keras's tutorial: channels-last, dense 128, softmax", add_keras, -1, from_logits=False
    ),
    "resnet": Recipe("ResNet-8: three residual blocks of 16, 32, 64 channels", add_resnet),
    "resnet20": Recipe("ResNet-20 of CIFAR", None, known=resnet20),
    "resnet32": Recipe("ResNet-32 of CIFAR", None, known=resnet32),
    "resnet56": Recipe("ResNet-56 of CIFAR", None, known=resnet56),
    "resnet18": Recipe(
        "ResNet-18 of ImageNet: 11 million parameters",
        None,
        known=resnet18,
        largest=("layer4.1.conv2.weight", (512, 512, 3, 3)),
    ),
    "mobilenet-v2": Recipe(
        "MobileNetV2: depthwise convolutions",
        None,
        known=mobilenet_v2,
        classifier="classifier.1",
        largest=("features.18.0.weight", (1280, 320, 1, 1)),
    ),
}
