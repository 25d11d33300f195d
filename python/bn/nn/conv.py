"""`Conv2d`, and the choice of how to compute it."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.module import Module
from bn.nn import conv_direct, conv_im2col, conv_im2row, conv_pointwise
from bn.nn.conv_strategy import Strategy
from bn.nn.init import Rng, weight_and_bias
from bn.nn.window import Pair, Window
from bn.types import Array, Shape

# From this number of channels on, im2row is faster than im2col for channels-last images.
ROWS_FROM = 16


def strategy(x: Array, weight: Array, window: Window, axis: int) -> Strategy:
    """Choose how to compute a convolution: the first strategy whose condition holds.

    Parameters
    ----------
    x : ndarray, shape (N, C, H, W)
    weight : ndarray, shape (O, C / groups, kh, kw)
    window : Window
    axis : {1, -1}
        The channel axis of the layer: x is a transposed view if it is -1.

    Returns
    -------
    Strategy

    Examples
    --------
    >>> x, weight = np.ones((1, 4, 8, 8)), np.ones((2, 2, 1, 1))  # two groups
    >>> strategy(x, weight, Window((1, 1)), axis=1).__name__
    'bn.nn.conv_pointwise'
    """
    channels, groups = x.shape[1], x.shape[1] // weight.shape[1]
    table: tuple[tuple[Strategy, bool], ...] = (
        (conv_direct, groups == 1 and conv_direct.FAST),
        (conv_im2row, axis == -1 and groups == 1 and channels >= ROWS_FROM),
        (conv_pointwise, axis == 1 and window.pointwise and x.flags.c_contiguous),
        (conv_im2col, True),
    )
    return next(way for way, fits in table if fits)


def channel_sums(dy: Array, axis: int) -> Array:
    """The sum of each channel, which is the gradient of a bias."""
    if axis == 1:
        sums: Array = dy.sum(axis=(0, 2, 3))
        return sums
    return np.ones(dy.size // dy.shape[-1], dy.dtype) @ dy.reshape(-1, dy.shape[-1])


class Conv2d(Module):
    r"""Convolution of images (a cross-correlation, as is usual in deep learning).

    .. math:: y_{n,o,i,j} = b_o + \sum_{c,k,l} w_{o,c,k,l} \,
              x_{n,\,c,\,s i + d k - p,\,s j + d l - p}

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of x and of y.
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

    def __init__(
        self,
        in_channels: int,
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
        for name, value in ("in_channels", in_channels), ("out_channels", out_channels):
            _check.positive_int(name, value)
        _check.groups(groups, in_channels, out_channels)
        _check.channel_axis(axis)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = _check.pair("kernel_size", kernel_size, 1)
        self.stride = _check.pair("stride", stride, 1)
        self.dilation = _check.pair("dilation", dilation, 1)
        self.padding = _check.padding(padding, self.stride)
        self.axis = axis
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight, self.bias, self.dtype = weight_and_bias(rng, shape, bias, dtype)

    @property
    def window(self) -> Window:
        """How the kernel moves over an image, with the padding in pixels.

        Examples
        --------
        >>> window = Conv2d(1, 1, kernel_size=2, padding="same").window
        >>> window.before, window.after
        ((0, 0), (1, 1))
        """
        if self.padding == "same":
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            before, after = (
                (total[0] // 2, total[1] // 2),
                (total[0] - total[0] // 2, total[1] - total[1] // 2),
            )
        else:
            before = after = (0, 0) if isinstance(self.padding, str) else self.padding
        return Window(self.kernel_size, self.stride, before, after, self.dilation)

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.image_shape("Conv2d", input_shape, self.axis, self.in_channels)
        size = input_shape[1:] if self.axis == 1 else input_shape[:2]
        out = self.window.output_size("Conv2d", (size[0], size[1]))
        return (self.out_channels, *out) if self.axis == 1 else (*out, self.out_channels)

    def forward(self, x: Array) -> Array:
        _check.images("x", x, self.axis, self.in_channels)
        y: Array = np.empty((x.shape[0], *self.output_shape(x.shape[1:])), x.dtype)
        weight, window = self.weight.data.astype(x.dtype, copy=False), self.window
        bias = None if self.bias is None else self.bias.data.astype(x.dtype, copy=False)
        images, out = self._channels_first(x), self._channels_first(y)
        strategy(images, weight, window, self.axis).convolve(images, weight, bias, window, out)
        self.keep(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.take(dy)
        dx = np.empty(x.shape, x.dtype)
        weight, window = self.weight.data.astype(x.dtype, copy=False), self.window
        images, dout, dimages = map(self._channels_first, (x, dy, dx))
        way = strategy(images, weight, window, self.axis)
        self.weight.accumulate(way.convolve_backward(images, weight, window, dout, dimages))
        if self.bias is not None:
            self.bias.accumulate(channel_sums(dy, self.axis))
        return dx

    def _channels_first(self, images: Array) -> Array:
        return images if self.axis == 1 else images.transpose(0, 3, 1, 2)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        text += f", padding={self.padding}" * (self.padding != (0, 0))
        text += f", dilation={self.dilation}" * (self.dilation != (1, 1))
        text += f", groups={self.groups}" * (self.groups != 1)
        text += ", bias=False" * (self.bias is None)
        return text + f", axis={self.axis}" * (self.axis != 1)
