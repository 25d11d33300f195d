"""The networks of `train_step.py` and `inference.py` as data; their weights, and batches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

IMAGE, CLASSES = (3, 32, 32), 10  # (C, H, W), as in CIFAR-10
BATCHES = 4  # different ones, which take turns
MOMENTUM, EPS = 0.9, 1e-5  # of SGD, of every batch normalization


@dataclass(frozen=True)
class Conv:
    """A convolution without bias, padded by half its kernel; depthwise ones keep the channels."""

    channels: int
    kernel: int = 3
    stride: int = 1
    depthwise: bool = False


@dataclass(frozen=True)
class Norm:
    """Batch normalization, of images or of what a linear layer gives."""

    images: bool = True


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True)
class MaxPool:
    """The maximum of each window."""

    kernel: int = 2
    stride: int = 2
    padding: int = 0


@dataclass(frozen=True)
class GlobalPool:
    """The mean of each channel."""


@dataclass(frozen=True)
class Flatten:
    """(N, C, H, W) becomes (N, C * H * W)."""


@dataclass(frozen=True)
class Linear:
    """A linear layer with bias."""

    features: int = CLASSES


@dataclass(frozen=True)
class Residual:
    """The sum of what body and shortcut make of x; an empty shortcut is the identity."""

    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()


Layer: TypeAlias = Conv | Norm | Relu | MaxPool | GlobalPool | Flatten | Linear | Residual
Layers: TypeAlias = tuple[Layer, ...]


@dataclass(frozen=True)
class Network:
    """A network, the size of its batches, and whether --quick measures it.

    The learning rate is one with which ten steps neither diverge nor leave the losses as they were.
    """

    name: str
    batch: int
    layers: Layers
    quick: bool = False
    lr: float = 0.005
    image: tuple[int, int, int] = IMAGE

    @property
    def title(self) -> str:
        """Its name with the batch size; --networks is matched with it."""
        return f"{self.name}, batch {self.batch}"


def conv(channels: int, kernel: int = 3, stride: int = 1, depthwise: bool = False) -> Layers:
    """A convolution, batch normalization and ReLU."""
    return (Conv(channels, kernel, stride, depthwise), Norm(), Relu())


def pooled(*channels: int) -> Layers:
    """For each number of channels `conv` and a pooling; then the classes."""
    blocks = tuple(layer for c in channels for layer in (*conv(c), MaxPool()))
    return (*blocks, Flatten(), Linear())


def basic_block(channels: int, stride: int, widens: bool) -> Layers:
    """He et al. (2016), with a projection (option B) where the shape changes."""
    body = (*conv(channels, stride=stride), Conv(channels), Norm())
    shortcut = (Conv(channels, kernel=1, stride=stride), Norm()) if widens else ()
    return (Residual(body, shortcut), Relu())


def tutorial() -> Layers:
    """The network of Keras's tutorial on batch normalization."""
    return (*conv(16), MaxPool(), Flatten(), Linear(128), Norm(images=False), Relu(), Linear())


def stage(channels: int, blocks: int, stride: int, widens: bool) -> Layers:
    """Some basic blocks, the first of which has the stride."""
    layers: Layers = ()
    for i in range(blocks):
        layers += basic_block(channels, stride if i == 0 else 1, widens and i == 0)
    return layers


def resnet18() -> Layers:
    """ResNet-18 for ImageNet's images."""
    layers = (*conv(64, kernel=7, stride=2), MaxPool(3, 2, 1))
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += stage(channels, 2, stride, widens=stride != 1)
    return (*layers, GlobalPool(), Flatten(), Linear())


def resnet(blocks: int) -> Layers:
    """ResNet for CIFAR-10: three stages of so many blocks, 6 * blocks + 2 layers with weights."""
    layers = conv(16)
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        layers += stage(channels, blocks, stride, widens=stride != 1)
    return (*layers, GlobalPool(), Flatten(), Linear())


def separable() -> Layers:
    """Depthwise separable convolutions, as in MobileNet: 32 to 64 to 128 channels."""
    layers = conv(32)
    for before, after in ((32, 64), (64, 128)):
        layers += (*conv(before, stride=2, depthwise=True), *conv(after, kernel=1))
    return (*layers, GlobalPool(), Flatten(), Linear())


NETWORKS = (
    Network("conv 16", 64, pooled(16), quick=True, lr=0.001),
    Network("conv 16", 256, pooled(16), lr=0.001),
    Network("Keras tutorial", 64, tutorial(), lr=0.02),
    Network("32-64-128", 64, pooled(32, 64, 128), lr=0.002),
    Network("conv 24-48", 96, pooled(24, 48), lr=0.002),
    Network("ResNet-14", 64, resnet(2), quick=True),
    Network("ResNet-20", 64, resnet(3), lr=0.002),
    Network("depthwise separable", 64, separable(), quick=True, lr=0.05),
)
SERVED = tuple(
    Network(name, batch, layers, name in ("conv 16", "ResNet-20"), image=image)
    for batch in (64, 1)
    for name, layers, image in (
        ("conv 16", pooled(16), IMAGE),
        ("conv 24-48", pooled(24, 48), IMAGE),
        ("32-64-128", pooled(32, 64, 128), IMAGE),
        ("ResNet-20", resnet(3), IMAGE),
        ("depthwise separable", separable(), IMAGE),
        ("ResNet-18", resnet18(), (3, 224, 224)),
    )
    if batch == 1 or image == IMAGE
)  # batches of ResNet-18 would take minutes


def chosen(pattern: str, quick: bool, networks: tuple[Network, ...] = NETWORKS) -> list[Network]:
    """The networks whose title matches a regular expression; with `quick` fewer, unless named."""
    found = [network for network in networks if re.search(pattern, network.title)]
    return [n for n in found if n.quick or not quick or pattern]


def weights(network: Network, seed: int = 0) -> list[np.ndarray]:
    """Every array that is trained, in the order of the layers, a body before its shortcut.

    A convolution has (O, C / groups, k, k), normalization scale and shift, a linear layer (O, C)
    and a bias.
    """
    arrays, _ = _weights(network.layers, network.image, np.random.default_rng(seed))
    return list(arrays)


def _weights(
    layers: Layers, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[list[np.ndarray], tuple[int, ...]]:
    """The arrays of some layers for an input of `shape`, and the shape of their output."""
    arrays: list[np.ndarray] = []
    for layer in layers:
        match layer:
            case Conv(channels, kernel, stride, depthwise):
                inputs = 1 if depthwise else shape[0]
                arrays.append(_he(rng, (channels, inputs, kernel, kernel)))
                shape = (channels, *(-(-size // stride) for size in shape[1:]))
            case Norm():
                arrays += [np.ones(shape[0], np.float32), np.zeros(shape[0], np.float32)]
            case MaxPool(kernel, stride, padding):
                sizes = ((size + 2 * padding - kernel) // stride + 1 for size in shape[1:])
                shape = (shape[0], *sizes)
            case GlobalPool():
                shape = (shape[0], 1, 1)
            case Flatten():
                shape = (int(np.prod(shape)),)
            case Linear(features):
                arrays += [_he(rng, (features, *shape)), np.zeros(features, np.float32)]
                shape = (features,)
            case Residual(body, shortcut):
                inside, after = _weights(body, shape, rng)
                arrays += inside + _weights(shortcut, shape, rng)[0]
                shape = after
    return arrays, shape


def _he(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """He's initialization: normal, with variance 2 / inputs."""
    scale = np.sqrt(2 / np.prod(shape[1:]))
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def batches(network: Network, seed: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random images, (N, C, H, W) in float32, and their classes, (N,) in int64."""
    rng = np.random.default_rng(seed)
    for _ in range(BATCHES):
        images = rng.standard_normal((network.batch, *network.image), dtype=np.float32)
        yield images, rng.integers(CLASSES, size=network.batch)


def statistics(channels: int) -> tuple[np.ndarray, np.ndarray]:
    """A running mean and variance, the same for all normalizations of so many channels."""
    numbers = np.arange(channels)
    return (0.1 * np.cos(numbers)).astype(np.float32), (1 + 0.5 * np.sin(numbers)).astype(
        np.float32
    )
