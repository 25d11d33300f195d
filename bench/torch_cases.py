"""Networks as PyTorch's users write them, for `torch_step.py`, and layers by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut (He et al., 2016), as in torchvision."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = None
        if stride != 1 or before != after:
            projection = nn.Conv2d(before, after, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection (Sandler et al., 2018)."""

    def __init__(self, before: int, after: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = before * expansion
        widen = conv(before, hidden, 1, nn.ReLU6) if expansion > 1 else ()
        self.conv = nn.Sequential(
            *widen,
            *conv(hidden, hidden, 3, nn.ReLU6, stride, groups=hidden),
            nn.Conv2d(hidden, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.adds = stride == 1 and before == after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


def conv(
    before: int,
    after: int,
    kernel: int,
    activation: type[nn.Module] = nn.ReLU,
    stride: int = 1,
    groups: int = 1,
) -> tuple[nn.Module, ...]:
    """A convolution, batch normalization and an activation."""
    layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)
    return layer, nn.BatchNorm2d(after), activation(inplace=True)


def resnet(first: tuple[nn.Module, ...], stages: list[tuple[int, int]], blocks: int) -> nn.Module:
    """A ResNet of basic blocks; a stage is its channels and the stride of its first block."""
    layers, before = [*first], stages[0][0]
    for channels, stride in stages:
        for i in range(blocks):
            layers.append(BasicBlock(before, channels, stride if i == 0 else 1))
            before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))


def resnet20() -> nn.Module:
    return resnet(conv(3, 16, 3), [(16, 1), (32, 2), (64, 2)], 3)


def resnet18() -> nn.Module:
    first = (*conv(3, 64, 7, stride=2), nn.MaxPool2d(3, 2, 1))
    return resnet(first, [(64, 1), (128, 2), (256, 2), (512, 2)], 2)


def mobilenet_v2() -> nn.Module:
    layers, before = [*conv(3, 32, 3, nn.ReLU6, 2)], 32
    for expansion, channels, number, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for i in range(number):
            layers.append(InvertedResidual(before, channels, stride if i == 0 else 1, expansion))
            before = channels
    layers += [*conv(before, 1280, 1, nn.ReLU6), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(1280, 10))


def tutorial() -> nn.Module:
    """The network of PyTorch's tutorial with batch normalization."""
    return nn.Sequential(
        *conv(3, 16, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 16 * 16, 10)
    )


class AddReLU(nn.Module):
    """Batch normalization, an addition and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.bn(x)
        out += x
        return torch.relu(out)


@dataclass(frozen=True)
class Case:
    """What is trained, or called: a module, the shape of its input, and the speed-up aimed at."""

    title: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    aim: float
    trains: bool = True  # a whole step; otherwise forward and backward of a layer alone


LAYER = (32, 64, 56, 56)
CASES = (
    Case("ResNet-20, batch 64", resnet20, (64, 3, 32, 32), 1.2),
    Case("ResNet-18, batch 8", resnet18, (8, 3, 224, 224), 1.1),
    Case("MobileNetV2, batch 8", mobilenet_v2, (8, 3, 224, 224), 1.25),
    Case("tutorial CNN, batch 64", tutorial, (64, 3, 32, 32), 1.4),
    Case("BN", lambda: nn.BatchNorm2d(64), LAYER, 2, trains=False),
    Case(
        "BN, ReLU",
        lambda: nn.Sequential(nn.BatchNorm2d(64), nn.ReLU(inplace=True)),
        LAYER, 2, trains=False,
    ),
    Case("BN, addition, ReLU", lambda: AddReLU(64), LAYER, 3, trains=False),
    Case("BN, (1, 16, 4, 4)", lambda: nn.BatchNorm2d(16), (1, 16, 4, 4), 0.5, trains=False),
)  # fmt: skip
