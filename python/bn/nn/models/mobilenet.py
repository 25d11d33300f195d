"""MobileNetV2."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bn.layers.torch_style import BatchNorm2d
from bn.module import Module
from bn.nn.activations import ReLU6
from bn.nn.adaptive_pooling import AdaptiveAvgPool2d
from bn.nn.containers import Sequential
from bn.nn.conv import Conv2d
from bn.nn.dropout import Dropout
from bn.nn.init import Rng, generator
from bn.nn.linear import Linear
from bn.nn.models.initialization import initialize

# The paper's table 2: (expansion, channels, blocks, stride of the first block).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(Module):
    """A block of MobileNetV2: wider by a 1 x 1 convolution, depthwise 3 x 3, narrower by 1 x 1.

    The input is added to the output if both have one shape.

    Parameters
    ----------
    in_channels, out_channels : int
    stride : int
        Of the depthwise convolution.
    expansion : int
        How many times as many channels are inside; 1 leaves the first convolution out.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Examples
    --------
    >>> block = InvertedResidual(8, 16, stride=2, expansion=6, rng=0)
    >>> block(np.ones((2, 8, 6, 6), np.float32)).shape
    (2, 16, 3, 3)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        expansion: int,
        *,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        rng = generator(rng)
        inside = in_channels * expansion
        self.conv = Sequential()
        if expansion != 1:
            self.conv.append(_conv(in_channels, inside, 1, dtype=dtype, rng=rng))
        self.conv.append(_conv(inside, inside, 3, stride, groups=inside, dtype=dtype, rng=rng))
        self.conv.append(Conv2d(inside, out_channels, 1, bias=False, dtype=dtype, rng=rng))
        self.conv.append(BatchNorm2d(out_channels, dtype=dtype))
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: Any) -> Any:
        y = self.conv(x)
        return x + y if self.adds_input else y


class MobileNetV2(Module):
    """MobileNetV2, with the names of torchvision.

    The initial weights are torchvision's: those of the convolutions have the variance
    2 / (out_channels * kh * kw), those of the linear layer the standard deviation 0.01 and its
    biases are 0.

    Parameters
    ----------
    num_classes, in_channels : int
    dropout : float
        The probability with which the inputs of the linear layer are set to zero in training.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters, and later the seeds of the dropout.

    References
    ----------
    Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018.

    Examples
    --------
    >>> model = MobileNetV2(num_classes=10, rng=0)
    >>> model.output_shape((3, 64, 64)), len(model.features)
    ((10,), 19)
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        dropout: float = 0.2,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        rng = generator(rng)
        channels, last = 32, 1280
        self.features = Sequential(_conv(in_channels, channels, 3, 2, dtype=dtype, rng=rng))
        for expansion, out, blocks, first in STAGES:
            for i in range(blocks):
                stride = first if i == 0 else 1
                self.features.append(
                    InvertedResidual(channels, out, stride, expansion, dtype=dtype, rng=rng)
                )
                channels = out
        self.features.append(_conv(channels, last, 1, dtype=dtype, rng=rng))
        self.avgpool = AdaptiveAvgPool2d(1)
        self.classifier = Sequential(
            Dropout(dropout, rng=rng), Linear(last, num_classes, dtype=dtype, rng=rng)
        )
        initialize(self, rng, linear_std=0.01)

    def forward(self, x: Any) -> Any:
        x = self.avgpool(self.features(x))
        return self.classifier(x.flatten(1))


def mobilenet_v2(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dropout: float = 0.2,
    dtype: DTypeLike = np.float32,
    rng: Rng = None,
) -> MobileNetV2:
    """MobileNetV2 of width 1: 17 blocks with depthwise convolutions.

    With 1000 classes it has 3,504,872 parameters.

    Parameters
    ----------
    num_classes, in_channels : int
    dropout : float
        The probability with which the inputs of the linear layer are set to zero in training.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters, and later the seeds of the dropout.

    Returns
    -------
    MobileNetV2

    References
    ----------
    Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018;
    torchvision.models.mobilenet_v2.

    Examples
    --------
    >>> model = mobilenet_v2(num_classes=10, rng=0)
    >>> model(np.ones((2, 3, 64, 64), np.float32)).shape
    (2, 10)
    """
    return MobileNetV2(num_classes, in_channels, dropout=dropout, dtype=dtype, rng=rng)


def _conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    groups: int = 1,
    *,
    dtype: DTypeLike,
    rng: Rng,
) -> Sequential:
    """A convolution padded by half its kernel, batch normalization and ReLU6."""
    conv = Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        kernel_size // 2,
        groups=groups,
        bias=False,
        dtype=dtype,
        rng=rng,
    )
    return Sequential(conv, BatchNorm2d(out_channels, dtype=dtype), ReLU6())
