"""U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.layers.torch_style import BatchNorm2d
from bn.module import Module
from bn.nn.activations import ReLU
from bn.nn.containers import ModuleList
from bn.nn.conv import Conv2d
from bn.nn.conv_transpose import ConvTranspose2d
from bn.nn.init import Rng, generator
from bn.nn.pooling import MaxPool2d
from bn.recording.value import concatenate

WIDTHS = (16, 32, 64, 128)


class DoubleConv(Module):
    """Two 3 x 3 convolutions that keep the size, each with batch normalization and ReLU.

    Parameters
    ----------
    in_channels, out_channels : int
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Examples
    --------
    >>> block = DoubleConv(3, 8, rng=0)
    >>> block(np.ones((2, 3, 6, 6), np.float32)).shape
    (2, 8, 6, 6)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        rng = generator(rng)
        self.conv1 = _conv(in_channels, out_channels, dtype=dtype, rng=rng)
        self.bn1 = BatchNorm2d(out_channels, dtype=dtype)
        self.conv2 = _conv(out_channels, out_channels, dtype=dtype, rng=rng)
        self.bn2 = BatchNorm2d(out_channels, dtype=dtype)
        self.relu = ReLU()

    def forward(self, x: Any) -> Any:
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)))


class UNet(Module):
    """A U-Net: a number for each class at every pixel of the image.

    The image is halved by a pooling from one width to the next, and doubled again by transposed
    convolutions on the way back, where the channels of the same size from the way down are joined.
    The convolutions keep the size, so that y is as large as x; in the paper it is smaller. The
    weights are those that the layers begin with, as in PyTorch.

    Parameters
    ----------
    num_classes, in_channels : int
    widths : sequence of int
        The channels at each size of the image, the whole image first.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Raises
    ------
    ValueError
        `widths` is empty. On a call: x is not (N, C, H, W), or its height or width is no multiple
        of 2 ** (len(widths) - 1).

    References
    ----------
    Ronneberger et al., "U-Net: convolutional networks for biomedical image segmentation", 2015.

    Examples
    --------
    >>> model = UNet(num_classes=2, in_channels=3, widths=(4, 8), rng=0)
    >>> model(np.ones((1, 3, 10, 12), np.float32)).shape
    (1, 2, 10, 12)
    """

    def __init__(
        self,
        num_classes: int = 2,
        in_channels: int = 3,
        *,
        widths: Sequence[int] = WIDTHS,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        _check.channel_widths(widths)
        rng = generator(rng)
        self.down = ModuleList()
        self.up = ModuleList()
        self.join = ModuleList()
        for before, after in zip((in_channels, *widths), widths, strict=False):
            self.down.append(DoubleConv(before, after, dtype=dtype, rng=rng))
        for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True):
            self.up.append(ConvTranspose2d(wide, narrow, 2, 2, dtype=dtype, rng=rng))
            self.join.append(DoubleConv(2 * narrow, narrow, dtype=dtype, rng=rng))
        self.pool = MaxPool2d(2)
        self.head = Conv2d(widths[0], num_classes, 1, dtype=dtype, rng=rng)

    def forward(self, x: Any) -> Any:
        _check.divisible_images("UNet", x.shape, 2 ** (len(self.down) - 1))
        skipped: list[Any] = []
        for block in self.down:
            x = block(self.pool(x) if skipped else x)
            skipped.append(x)
        for up, block, skip in zip(self.up, self.join, skipped[-2::-1], strict=True):
            x = block(concatenate([skip, up(x)], axis=1))
        return self.head(x)


def unet(
    num_classes: int = 2,
    in_channels: int = 3,
    *,
    widths: Sequence[int] = WIDTHS,
    dtype: DTypeLike = np.float32,
    rng: Rng = None,
) -> UNet:
    """A small U-Net, which classifies each pixel of an image.

    With the default arguments it has 482,754 parameters.

    Parameters
    ----------
    num_classes, in_channels : int
    widths : sequence of int
        The channels at each size of the image, the whole image first; each size is half of the one
        before.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws all parameters.

    Returns
    -------
    UNet

    References
    ----------
    Ronneberger et al., "U-Net: convolutional networks for biomedical image segmentation", 2015.

    Examples
    --------
    >>> model = unet(num_classes=3, widths=(4, 8, 16), rng=0)
    >>> model(np.ones((1, 3, 16, 20), np.float32)).shape
    (1, 3, 16, 20)
    """
    return UNet(num_classes, in_channels, widths=widths, dtype=dtype, rng=rng)


def _conv(in_channels: int, out_channels: int, *, dtype: DTypeLike, rng: Rng) -> Conv2d:
    return Conv2d(in_channels, out_channels, 3, padding=1, bias=False, dtype=dtype, rng=rng)
