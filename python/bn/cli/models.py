"""The four networks of `python -m bn train`, each with and without batch normalization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import bn
from bn import _check, nn
from bn.module import Array, Module, Shape

LEAST_SIZE = 4  # pixels in height and width, since two poolings halve them twice


def build(
    name: str, image_shape: Shape, classes: int, *, batch_norm: bool, seed: int = 0
) -> nn.Sequential:
    """Build one of `RECIPES` for images of `image_shape`, (C, H, W).

    The same seed gives the same weights with and without batch normalization, since batch
    normalization draws no random numbers. For that the convolutions have biases in both networks,
    although batch normalization cancels a bias.
    """
    _check.least_image_size(name, image_shape[1:], LEAST_SIZE)
    recipe = RECIPES[name]
    draft = Draft(recipe.axis, batch_norm, np.random.default_rng(seed), image_shape)
    recipe.draw(draft, classes)
    model = nn.Sequential(*draft.layers)
    model.build(draft.input_shape)
    return model


class Draft:
    """A network under construction: its layers so far, and the options that they share."""

    def __init__(
        self, axis: int, batch_norm: bool, rng: np.random.Generator, image_shape: Shape
    ) -> None:
        self.axis, self.batch_norm, self.rng = axis, batch_norm, rng
        c, h, w = image_shape
        self.input_shape: Shape = (c, h, w) if axis == 1 else (h, w, c)
        self.shape: Shape = self.input_shape  # the input of the next layer
        self.layers: list[Module] = []

    def add(self, *layers: Module) -> None:
        for layer in layers:
            self.shape = layer.output_shape(self.shape)
            self.layers.append(layer)

    def norm(self, channels: int) -> list[Module]:
        """Batch normalization, or no layer in the network without it."""
        if not self.batch_norm:
            return []
        return [bn.BatchNorm2d(channels) if self.axis == 1 else bn.BatchNormalization(axis=-1)]

    def conv(self, c_in: int, c_out: int, kernel_size: int = 3, stride: int = 1) -> list[Module]:
        """A convolution whose padding is half the kernel, then batch normalization."""
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
        self.add(nn.Linear(self.shape[0], features, rng=self.rng))


def draw_digits(draft: Draft, classes: int) -> None:
    draft.add_conv(32)
    draft.add_conv(32)
    draft.add_pool()
    draft.add_conv(64)
    draft.add_pool()
    draft.add(nn.Flatten())
    draft.add_linear(classes)


def draw_torch(draft: Draft, classes: int) -> None:
    draft.add_conv(16)
    draft.add_pool()
    draft.add(nn.Flatten())
    draft.add_linear(classes)


def draw_keras(draft: Draft, classes: int) -> None:
    draft.add_conv(16)
    draft.add_pool()
    draft.add(nn.Flatten())
    draft.add_linear(128)
    draft.add(*draft.norm(128), nn.ReLU())
    draft.add_linear(classes)
    draft.add(nn.Softmax())


def draw_resnet(draft: Draft, classes: int) -> None:
    """ResNet-8: He et al. (2016), section 4.2, with n = 1."""
    draft.add_conv(16)
    for c_out, stride in ((16, 1), (32, 2), (64, 2)):
        c_in = draft.shape[0]
        body = nn.Sequential(
            *draft.conv(c_in, c_out, stride=stride), nn.ReLU(), *draft.conv(c_out, c_out)
        )
        # Option B of the paper: a 1 x 1 convolution where the shape changes, else the identity.
        shortcut = None
        if stride != 1:
            shortcut = nn.Sequential(*draft.conv(c_in, c_out, kernel_size=1, stride=stride))
        draft.add(nn.Residual(body, shortcut), nn.ReLU())
    draft.add(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    draft.add_linear(classes)


@dataclass(frozen=True)
class Recipe:
    """How to build a network.

    Attributes
    ----------
    summary : str
        Its line in the help.
    draw : callable
        Adds its layers to a draft, for a number of classes.
    axis : {1, -1}
        Its channel axis.
    from_logits : bool
        Whether its output is logits; otherwise it is probabilities.
    """

    summary: str
    draw: Callable[[Draft, int], None]
    axis: int = 1
    from_logits: bool = True

    def probabilities(self, y: Array) -> Array:
        """The probabilities, (N, classes), for an output of the network."""
        return nn.Softmax()(y) if self.from_logits else y


RECIPES = {
    "digits": Recipe("three 3x3 convolutions of 32, 32, 64 channels (default)", draw_digits),
    "tutorial-torch": Recipe("PyTorch's tutorial: one convolution, one linear layer", draw_torch),
    "tutorial-keras": Recipe(
        "Keras's tutorial: channels-last, dense 128, softmax", draw_keras, -1, from_logits=False
    ),
    "resnet": Recipe("ResNet-8: three residual blocks of 16, 32, 64 channels", draw_resnet),
}
