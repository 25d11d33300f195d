"""ResNets: those of ImageNet and those of CIFAR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from bn.layers.torch_style import BatchNorm2d
from bn.module import Module
from bn.nn.activations import ReLU
from bn.nn.adaptive_pooling import AdaptiveAvgPool2d
from bn.nn.containers import Sequential
from bn.nn.conv import Conv2d
from bn.nn.init import Rng, generator
from bn.nn.linear import Linear
from bn.nn.models.initialization import initialize
from bn.nn.pooling import MaxPool2d


class BasicBlock(Module):
    """Two 3 x 3 convolutions, and the sum with the input.

    Where the shape changes, `downsample` makes the input fit: a 1 x 1 convolution and a batch
    normalization, called ``downsample.0`` and ``downsample.1``. Elsewhere it is None.

    Parameters
    ----------
    in_channels : int
    channels : int
        Of the convolutions, and of the output.
    stride : int
        Of the first convolution.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2015.

    Examples
    --------
    >>> block = BasicBlock(8, 16, stride=2, rng=0)
    >>> block(np.ones((2, 8, 6, 6), np.float32)).shape, len(block.downsample)
    ((2, 16, 3, 3), 2)
    """

    expansion: ClassVar[int] = 1  # how many times `channels` the output has

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        *,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        rng = generator(rng)
        self.conv1 = _conv(in_channels, channels, 3, stride, dtype=dtype, rng=rng)
        self.bn1 = BatchNorm2d(channels, dtype=dtype)
        self.relu = ReLU()
        self.conv2 = _conv(channels, channels, 3, dtype=dtype, rng=rng)
        self.bn2 = BatchNorm2d(channels, dtype=dtype)
        self.downsample = _downsample(in_channels, channels, stride, dtype=dtype, rng=rng)

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(Module):
    """A 1 x 1, a 3 x 3 and a 1 x 1 convolution, and the sum with the input.

    The stride is that of the 3 x 3 convolution, as in torchvision ("ResNet v1.5"); in the paper the
    first one has it. Where the shape changes, `downsample` makes the input fit, as in `BasicBlock`.

    Parameters
    ----------
    in_channels : int
    channels : int
        Of the first two convolutions; the output has four times as many.
    stride : int
        Of the second convolution.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2015.

    Examples
    --------
    >>> block = Bottleneck(8, 4, stride=2, rng=0)
    >>> block(np.ones((2, 8, 6, 6), np.float32)).shape
    (2, 16, 3, 3)
    """

    expansion: ClassVar[int] = 4  # how many times `channels` the output has

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        *,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        rng = generator(rng)
        out = channels * self.expansion
        self.conv1 = _conv(in_channels, channels, 1, dtype=dtype, rng=rng)
        self.bn1 = BatchNorm2d(channels, dtype=dtype)
        self.conv2 = _conv(channels, channels, 3, stride, dtype=dtype, rng=rng)
        self.bn2 = BatchNorm2d(channels, dtype=dtype)
        self.conv3 = _conv(channels, out, 1, dtype=dtype, rng=rng)
        self.bn3 = BatchNorm2d(out, dtype=dtype)
        self.relu = ReLU()
        self.downsample = _downsample(in_channels, out, stride, dtype=dtype, rng=rng)

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(Module):
    """A ResNet for large images, with the names of torchvision.

    The initial weights are torchvision's: those of the convolutions have the variance
    2 / (out_channels * kh * kw), and the linear layer begins as every `Linear`.

    Parameters
    ----------
    block : type
        `BasicBlock` or `Bottleneck`.
    blocks : sequence of four int
        The number of blocks in each stage.
    num_classes, in_channels : int
    width : int
        The channels of the first convolution and of the first stage; each stage has twice as many
        as the one before.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2015.

    Examples
    --------
    >>> model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10, width=16, rng=0)
    >>> model(np.ones((2, 3, 64, 64), np.float32)).shape
    (2, 10)
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        width: int = 64,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        rng, w, e = generator(rng), width, block.expansion
        self.conv1 = _conv(in_channels, w, 7, 2, dtype=dtype, rng=rng)
        self.bn1 = BatchNorm2d(w, dtype=dtype)
        self.relu = ReLU()
        self.maxpool = MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(block, w, w, blocks[0], 1, dtype=dtype, rng=rng)
        self.layer2 = _stage(block, w * e, 2 * w, blocks[1], 2, dtype=dtype, rng=rng)
        self.layer3 = _stage(block, 2 * w * e, 4 * w, blocks[2], 2, dtype=dtype, rng=rng)
        self.layer4 = _stage(block, 4 * w * e, 8 * w, blocks[3], 2, dtype=dtype, rng=rng)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(8 * w * e, num_classes, dtype=dtype, rng=rng)
        initialize(self, rng)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


class CifarResNet(Module):
    """A ResNet for small images, such as the 32 x 32 pixels of CIFAR-10.

    A convolution of 16 channels, three stages of blocks with 16, 32 and 64 channels, the mean of
    each channel, and a linear layer: 6 * blocks + 2 layers with weights. Where the shape changes,
    the shortcut is a 1 x 1 convolution with batch normalization (option B of the paper), so that
    `BasicBlock` serves all ResNets; the paper's CIFAR networks take option A, strides and zeros
    without parameters.

    The initial weights of the convolutions have the variance 2 / (out_channels * 9), those of the
    shortcuts 2 / out_channels, and the linear layer begins as every `Linear`.

    Parameters
    ----------
    blocks : int
        The number of blocks in each stage.
    num_classes, in_channels : int
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2015, section 4.2.

    Examples
    --------
    >>> model = CifarResNet(1, rng=0)
    >>> model(np.ones((2, 3, 32, 32), np.float32)).shape
    (2, 10)
    """

    def __init__(
        self,
        blocks: int,
        num_classes: int = 10,
        in_channels: int = 3,
        *,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        rng = generator(rng)
        self.conv1 = _conv(in_channels, 16, 3, dtype=dtype, rng=rng)
        self.bn1 = BatchNorm2d(16, dtype=dtype)
        self.relu = ReLU()
        self.layer1 = _stage(BasicBlock, 16, 16, blocks, 1, dtype=dtype, rng=rng)
        self.layer2 = _stage(BasicBlock, 16, 32, blocks, 2, dtype=dtype, rng=rng)
        self.layer3 = _stage(BasicBlock, 32, 64, blocks, 2, dtype=dtype, rng=rng)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.fc = Linear(64, num_classes, dtype=dtype, rng=rng)
        initialize(self, rng)

    def forward(self, x: Any) -> Any:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


def resnet20(
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    dtype: DTypeLike = np.float32,
    rng: Rng = None,
) -> CifarResNet:
    """ResNet-20 for small images: three stages of 3 blocks.

    With 10 classes it has 272,474 parameters. The shortcuts that change the shape are 1 x 1
    convolutions, unlike the paper's; `CifarResNet` says why.

    Parameters
    ----------
    num_classes, in_channels : int
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Returns
    -------
    CifarResNet

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2015, section 4.2.

    Examples
    --------
    >>> model = resnet20(rng=0)
    >>> model.output_shape((3, 32, 32)), len(model.layer1)
    ((10,), 3)
    """
    return CifarResNet(3, num_classes, in_channels, dtype=dtype, rng=rng)


def resnet32(
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    dtype: DTypeLike = np.float32,
    rng: Rng = None,
) -> CifarResNet:
    """ResNet-32 for small images: three stages of 5 blocks.

    With 10 classes it has 466,906 parameters. The shortcuts that change the shape are 1 x 1
    convolutions, unlike the paper's; `CifarResNet` says why.

    Parameters
    ----------
    num_classes, in_channels : int
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Returns
    -------
    CifarResNet

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2015, section 4.2.

    Examples
    --------
    >>> model = resnet32(rng=0)
    >>> model.output_shape((3, 32, 32)), len(model.layer1)
    ((10,), 5)
    """
    return CifarResNet(5, num_classes, in_channels, dtype=dtype, rng=rng)


def resnet56(
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    dtype: DTypeLike = np.float32,
    rng: Rng = None,
) -> CifarResNet:
    """ResNet-56 for small images: three stages of 9 blocks.

    With 10 classes it has 855,770 parameters. The shortcuts that change the shape are 1 x 1
    convolutions, unlike the paper's; `CifarResNet` says why.

    Parameters
    ----------
    num_classes, in_channels : int
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Returns
    -------
    CifarResNet

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2015, section 4.2.

    Examples
    --------
    >>> model = resnet56(rng=0)
    >>> model.output_shape((3, 32, 32)), len(model.layer1)
    ((10,), 9)
    """
    return CifarResNet(9, num_classes, in_channels, dtype=dtype, rng=rng)


def resnet18(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dtype: DTypeLike = np.float32,
    rng: Rng = None,
) -> ResNet:
    """ResNet-18 for large images: stages of 2, 2, 2 and 2 blocks of two 3 x 3 convolutions.

    With 1000 classes it has 11,689,512 parameters.

    Parameters
    ----------
    num_classes, in_channels : int
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Returns
    -------
    ResNet

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2015; torchvision.models.resnet18.

    Examples
    --------
    >>> model = resnet18(num_classes=10, rng=0)
    >>> model.output_shape((3, 64, 64)), len(model.layer1)
    ((10,), 2)
    """
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels, dtype=dtype, rng=rng)


def resnet34(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dtype: DTypeLike = np.float32,
    rng: Rng = None,
) -> ResNet:
    """ResNet-34 for large images: stages of 3, 4, 6 and 3 blocks of two 3 x 3 convolutions.

    With 1000 classes it has 21,797,672 parameters.

    Parameters
    ----------
    num_classes, in_channels : int
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Returns
    -------
    ResNet

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2015; torchvision.models.resnet34.

    Examples
    --------
    >>> model = resnet34(num_classes=10, rng=0)
    >>> model.output_shape((3, 64, 64)), len(model.layer1)
    ((10,), 3)
    """
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes, in_channels, dtype=dtype, rng=rng)


def resnet50(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    dtype: DTypeLike = np.float32,
    rng: Rng = None,
) -> ResNet:
    """ResNet-50 for large images: stages of 3, 4, 6 and 3 blocks of three convolutions.

    With 1000 classes it has 25,557,032 parameters.

    Parameters
    ----------
    num_classes, in_channels : int
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Returns
    -------
    ResNet

    References
    ----------
    He et al., "Deep residual learning for image recognition", 2015; torchvision.models.resnet50.

    Examples
    --------
    >>> model = resnet50(num_classes=10, rng=0)
    >>> model.output_shape((3, 64, 64)), len(model.layer1)
    ((10,), 3)
    """
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, dtype=dtype, rng=rng)


def _conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    *,
    dtype: DTypeLike,
    rng: Rng,
) -> Conv2d:
    """A convolution without bias, padded by half its kernel."""
    padding = kernel_size // 2
    return Conv2d(
        in_channels, out_channels, kernel_size, stride, padding, bias=False, dtype=dtype, rng=rng
    )


def _downsample(
    in_channels: int, out_channels: int, stride: int, *, dtype: DTypeLike, rng: Rng
) -> Sequential | None:
    """What makes the input of a block like its output, or None if it is so already."""
    if stride == 1 and in_channels == out_channels:
        return None
    conv = _conv(in_channels, out_channels, 1, stride, dtype=dtype, rng=rng)
    return Sequential(conv, BatchNorm2d(out_channels, dtype=dtype))


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    channels: int,
    blocks: int,
    stride: int,
    *,
    dtype: DTypeLike,
    rng: Rng,
) -> Sequential:
    """Blocks, the first of which has the stride."""
    stage = Sequential(block(in_channels, channels, stride, dtype=dtype, rng=rng))
    for _ in range(blocks - 1):
        stage.append(block(channels * block.expansion, channels, dtype=dtype, rng=rng))
    return stage
