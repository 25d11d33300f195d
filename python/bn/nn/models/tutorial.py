"""The small networks of tutorials, for images as small as those of CIFAR-10."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bn.layers.torch_style import BatchNorm2d
from bn.module import Module
from bn.nn.activations import ReLU
from bn.nn.conv import Conv2d
from bn.nn.init import Rng, generator
from bn.nn.linear import Linear
from bn.nn.pooling import MaxPool2d


class CNNWithBatchNorm(Module):
    """One convolution of 16 channels with batch normalization, and one linear layer.

    The weights are those that the layers begin with, as in PyTorch.

    Parameters
    ----------
    num_classes, in_channels : int
    image_size : int
        The height and the width of the images, in pixels.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Examples
    --------
    >>> model = CNNWithBatchNorm(rng=0)
    >>> model(np.ones((2, 3, 32, 32), np.float32)).shape
    (2, 10)
    >>> list(model.state_dict())[:2], model.fc1
    (['conv1.weight', 'conv1.bias'], Linear(in_features=4096, out_features=10, bias=True))
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        *,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        rng = generator(rng)
        self.conv1 = Conv2d(in_channels, 16, 3, stride=1, padding=1, dtype=dtype, rng=rng)
        self.bn1 = BatchNorm2d(16, dtype=dtype)
        self.relu = ReLU()
        self.pool = MaxPool2d(2, 2)
        self.fc1 = Linear(16 * (image_size // 2) ** 2, num_classes, dtype=dtype, rng=rng)

    def forward(self, x: Any) -> Any:
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        return self.fc1(x.reshape(len(x), -1))


class DeepCNNWithBatchNorm(Module):
    """Three convolutions of 32, 64 and 128 channels with batch normalization, and a linear layer.

    Each convolution is followed by a ReLU and a pooling that halves the image. The weights are
    those that the layers begin with, as in PyTorch.

    Parameters
    ----------
    num_classes, in_channels : int
    image_size : int
        The height and the width of the images, in pixels.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Examples
    --------
    >>> model = DeepCNNWithBatchNorm(rng=0)
    >>> model(np.ones((2, 3, 32, 32), np.float32)).shape
    (2, 10)
    >>> model.fc1
    Linear(in_features=2048, out_features=10, bias=True)
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        *,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        rng = generator(rng)
        self.conv1 = Conv2d(in_channels, 32, 3, padding=1, dtype=dtype, rng=rng)
        self.bn1 = BatchNorm2d(32, dtype=dtype)
        self.conv2 = Conv2d(32, 64, 3, padding=1, dtype=dtype, rng=rng)
        self.bn2 = BatchNorm2d(64, dtype=dtype)
        self.conv3 = Conv2d(64, 128, 3, padding=1, dtype=dtype, rng=rng)
        self.bn3 = BatchNorm2d(128, dtype=dtype)
        self.relu = ReLU()
        self.pool = MaxPool2d(2, 2)
        self.fc1 = Linear(128 * (image_size // 8) ** 2, num_classes, dtype=dtype, rng=rng)

    def forward(self, x: Any) -> Any:
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        x = self.pool(self.relu(self.bn2(self.conv2(x))))
        x = self.pool(self.relu(self.bn3(self.conv3(x))))
        return self.fc1(x.reshape(len(x), -1))
