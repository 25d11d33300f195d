"""`Conv2d`: the convolution of images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.images import channels_first
from bn.nn.conv_base import ConvNd, window_of
from bn.nn.conv_waiting import Convolution
from bn.nn.init import Rng
from bn.nn.window import Pair, Window
from bn.types import Array, Shape


class Conv2d(ConvNd):
    r"""Convolution of images (a cross-correlation, as is usual in deep learning).

    .. math:: y_{n,o,i,j} = b_o + \sum_{c,k,l} w_{o,c,k,l} \,
              x_{n,\,c,\,s i + d k - p,\,s j + d l - p}

    Parameters
    ----------
    in_channels : int or None
        Channels of x; None learns them from the first x or from `build`.
    out_channels : int
        Channels of y.
    kernel_size : int or pair of int
        Height and width of the kernel, in pixels.
    stride : int or pair of int
        Pixels from one position of the kernel to the next.
    padding : int, pair of int, "same" or "valid"
        Zeros on each side. "same" keeps the height and the width and needs stride 1; of an odd
        number of zeros the larger part comes after the image, as in PyTorch. "valid" adds none.
    dilation : int or pair of int
        Pixels from one weight to the next.
    groups : int
        The channels are split into this many groups, each with a convolution of its own.
    bias : bool
        Whether to add one number per output channel.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws the parameters from U(-b, b), where
        b = 1 / sqrt(in_channels / groups * kh * kw).

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, kh, kw)
        PyTorch's layout, for both values of `axis`.
    bias : Parameter or None, shape (out_channels,)
    window : Window
        How the kernel moves over an image.

    Raises
    ------
    ValueError
        A size is not a positive integer, `groups` does not divide the channels, or `padding` is
        "same" and `stride` is not 1.

    Notes
    -----
    y lies channels-last in memory, whatever its shape (`nn.channels_last` tells more): that is the
    fastest order for convolutions, and the layers that follow keep it.

    References
    ----------
    torch.nn.Conv2d, which this follows; `axis` is Keras's data_format.

    Examples
    --------
    >>> conv = Conv2d(3, 16, kernel_size=3, padding=1, rng=0)
    >>> conv(np.ones((2, 3, 8, 8), np.float32)).shape
    (2, 16, 8, 8)
    >>> conv
    Conv2d(3, 16, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """

    fuses = True
    kernel_size: Pair
    stride: Pair
    padding: Pair | str
    dilation: Pair

    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        axis: int = 1,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        _check.channel_axis(axis)
        super().__init__(in_channels, out_channels, groups, bias, axis, dtype, rng)
        self.kernel_size = _check.pair("kernel_size", kernel_size, 1)
        self.stride = _check.pair("stride", stride, 1)
        self.dilation = _check.pair("dilation", dilation, 1)
        self.padding = _check.padding(padding, self.stride)
        if in_channels is not None:
            self.create((in_channels // groups, *self.kernel_size))

    def build(self, input_shape: Shape) -> None:
        self.output_shape(input_shape)
        if self.built:
            return
        channels = input_shape[0 if self.axis == 1 else 2]
        _check.groups(self.groups, channels, self.out_channels)
        self.create((channels // self.groups, *self.kernel_size), in_channels=channels)

    @property
    def window(self) -> Window:
        """How the kernel moves over an image, with the padding in pixels.

        Examples
        --------
        >>> window = Conv2d(1, 1, kernel_size=2, padding="same").window
        >>> window.before, window.after
        ((0, 0), (1, 1))
        """
        return window_of(self.kernel_size, self.stride, self.padding, self.dilation)

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.image_shape("Conv2d", input_shape, self.axis, self.in_channels)
        size = input_shape[1:] if self.axis == 1 else input_shape[:2]
        out = self.window_on((size[0], size[1])).output_size("Conv2d", (size[0], size[1]))
        return (self.out_channels, *out) if self.axis == 1 else (*out, self.out_channels)

    def forward(self, x: Array) -> Array:
        return self.defer(x).array()

    def defer(self, x: Array, **options: Any) -> Convolution:
        """`forward`, but for y, which waits for the layers that follow."""
        _check.images("Conv2d", x, self.axis, self.in_channels)
        shape = (x.shape[0], *self.output_shape(x.shape[1:]))
        if not self.built:
            self.build(x.shape[1:])
        y = Convolution(self, x, shape)
        self.keep(y, x)
        return y

    def as_images(self, x: Array) -> Array:
        return channels_first(x, self.axis)
