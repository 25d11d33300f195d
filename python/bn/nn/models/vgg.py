"""VGG with batch normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bn.layers.torch_style import BatchNorm2d
from bn.module import Module
from bn.nn.activations import ReLU
from bn.nn.adaptive_pooling import AdaptiveAvgPool2d
from bn.nn.containers import Sequential
from bn.nn.conv import Conv2d
from bn.nn.dropout import Dropout
from bn.nn.init import Rng, generator
from bn.nn.linear import Linear
from bn.nn.models.initialization import initialize
from bn.nn.pooling import MaxPool2d

POOLED = 7  # pixels in height and width in front of the classifier
STAGES_11 = ((64,), (128,), (256, 256), (512, 512), (512, 512))  # column A of the paper's table 1


class VGG(Module):
    """A VGG with batch normalization, with the names of torchvision.

    The images need 32 pixels in height and width; of 224 to 255 pixels 7 are left in front of the
    classifier. Other numbers are averaged or repeated to make 7, as in torchvision.

    The initial weights are torchvision's: those of the convolutions have the variance
    2 / (out_channels * 9), those of the linear layers the standard deviation 0.01, and the biases
    are 0.

    Parameters
    ----------
    stages : sequence of sequences of int
        The channels of the convolutions; a pooling that halves the image follows each stage.
    num_classes, in_channels : int
    hidden_features : int
        The outputs of the two linear layers before the last one. 4096 of them make
        25088 * 4096 weights.
    dropout : float
        The probability with which those outputs are set to zero in training.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters, and later the seeds of the dropout.

    References
    ----------
    Simonyan & Zisserman, "Very deep convolutional networks for large-scale image recognition",
    2014.

    Examples
    --------
    >>> model = VGG([[8], [8, 16]], num_classes=5, hidden_features=16, rng=0)
    >>> model(np.ones((2, 3, 32, 32), np.float32)).shape
    (2, 5)
    """

    def __init__(
        self,
        stages: Sequence[Sequence[int]],
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        hidden_features: int = 4096,
        dropout: float = 0.5,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        rng = generator(rng)
        self.features, channels = Sequential(), in_channels
        for stage in stages:
            for out in stage:
                self.features.append(Conv2d(channels, out, 3, padding=1, dtype=dtype, rng=rng))
                self.features.append(BatchNorm2d(out, dtype=dtype)).append(ReLU())
                channels = out
            self.features.append(MaxPool2d(2, 2))
        self.avgpool = AdaptiveAvgPool2d(POOLED)
        self.classifier = Sequential(
            Linear(channels * POOLED**2, hidden_features, dtype=dtype, rng=rng),
            ReLU(),
            Dropout(dropout, rng=rng),
            Linear(hidden_features, hidden_features, dtype=dtype, rng=rng),
            ReLU(),
            Dropout(dropout, rng=rng),
            Linear(hidden_features, num_classes, dtype=dtype, rng=rng),
        )
        initialize(self, rng, linear_std=0.01)

    def forward(self, x: Any) -> Any:
        x = self.avgpool(self.features(x))
        return self.classifier(x.flatten(1))


def vgg11_bn(
    num_classes: int = 1000,
    in_channels: int = 3,
    *,
    hidden_features: int = 4096,
    dropout: float = 0.5,
    dtype: DTypeLike = np.float32,
    rng: Rng = None,
) -> VGG:
    """VGG-11 with batch normalization: 8 convolutions and 3 linear layers.

    With 1000 classes it has 132,868,840 parameters, of which 102,764,544 belong to the first linear
    layer.

    Parameters
    ----------
    num_classes, in_channels : int
    hidden_features : int
        The outputs of the two linear layers before the last one.
    dropout : float
        The probability with which those outputs are set to zero in training.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters, and later the seeds of the dropout.

    Returns
    -------
    VGG

    References
    ----------
    Simonyan & Zisserman, "Very deep convolutional networks for large-scale image recognition",
    2014; torchvision.models.vgg11_bn.

    Examples
    --------
    >>> model = vgg11_bn(num_classes=10, hidden_features=64, rng=0)
    >>> model.output_shape((3, 224, 224)), model.avgpool.output_shape((512, 7, 7))
    ((10,), (512, 7, 7))
    """
    return VGG(
        STAGES_11,
        num_classes,
        in_channels,
        hidden_features=hidden_features,
        dropout=dropout,
        dtype=dtype,
        rng=rng,
    )
