"""LeNet."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bn.module import Module
from bn.nn.activations import ReLU
from bn.nn.conv import Conv2d
from bn.nn.init import Rng, generator
from bn.nn.linear import Linear
from bn.nn.pooling import MaxPool2d


class LeNet(Module):
    """LeNet-5 as it is taught today: with ReLU and max pooling, and all channels connected.

    Two convolutions of 6 and 16 channels, each followed by a pooling that halves the image, and
    linear layers of 120 and 84 features. The first convolution pads images to keep their size: 28
    pixels, those of MNIST, become the 5 by 5 of the paper. The weights are those that the layers
    begin with, as in PyTorch.

    Parameters
    ----------
    num_classes, in_channels : int
    image_size : int
        The height and the width of the images, in pixels.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    References
    ----------
    LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    Examples
    --------
    >>> model = LeNet(rng=0)
    >>> model(np.ones((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 1,
        *,
        image_size: int = 28,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        rng = generator(rng)
        self.conv1 = Conv2d(in_channels, 6, 5, padding=2, dtype=dtype, rng=rng)
        self.conv2 = Conv2d(6, 16, 5, dtype=dtype, rng=rng)
        self.relu = ReLU()
        self.pool = MaxPool2d(2)
        features = 16 * ((image_size // 2 - 4) // 2) ** 2
        self.fc1 = Linear(features, 120, dtype=dtype, rng=rng)
        self.fc2 = Linear(120, 84, dtype=dtype, rng=rng)
        self.fc3 = Linear(84, num_classes, dtype=dtype, rng=rng)

    def forward(self, x: Any) -> Any:
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        x = self.relu(self.fc1(x.flatten(1)))
        return self.fc3(self.relu(self.fc2(x)))


def lenet(
    num_classes: int = 10,
    in_channels: int = 1,
    *,
    image_size: int = 28,
    dtype: DTypeLike = np.float32,
    rng: Rng = None,
) -> LeNet:
    """LeNet-5, for images as small as those of MNIST.

    With 10 classes it has 61,706 parameters.

    Parameters
    ----------
    num_classes, in_channels : int
    image_size : int
        The height and the width of the images, in pixels.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Returns
    -------
    LeNet

    References
    ----------
    LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    Examples
    --------
    >>> model = lenet(num_classes=5, rng=0)
    >>> model(np.ones((2, 1, 28, 28), np.float32)).shape
    (2, 5)
    """
    return LeNet(num_classes, in_channels, image_size=image_size, dtype=dtype, rng=rng)
