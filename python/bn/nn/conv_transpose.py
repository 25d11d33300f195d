"""`ConvTranspose2d`: the transposed convolution of images."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn._core import core
from bn.functional import backward_reduce
from bn.images import channels_first
from bn.nn.conv_base import ConvNd, window_of
from bn.nn.conv_strategy import strategy
from bn.nn.init import Rng
from bn.nn.memory_order import empty_channels_last
from bn.nn.window import Pair, Window
from bn.types import Array, Gradient, Shape


class ConvTranspose2d(ConvNd):
    r"""Transposed convolution of images: what the gradient of a convolution does with dy.

    .. math:: y_{n,\,o,\,s i + d k - p,\,s j + d l - p} \mathrel{+}= w_{c,o,k,l} \, x_{n,c,i,j}

    summed over c, i, j, k and l, and the bias is added. With a stride, images become larger: their
    height h becomes (h - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding
    + 1, and their width likewise.

    Parameters
    ----------
    in_channels : int or None
        Channels of x; None learns them from the first x or from `build`.
    out_channels : int
        Channels of y.
    kernel_size : int or pair of int
        Height and width of the kernel, in pixels.
    stride : int or pair of int
        Pixels of y from one position of the kernel to the next.
    padding : int or pair of int
        Pixels that are left out on each side of y.
    output_padding : int or pair of int
        Pixels more, below and to the right of y. Several sizes of images become the same in a
        convolution with a stride; this tells which of them y has.
    groups : int
        The channels are split into this many groups, each with a convolution of its own.
    bias : bool
        Whether to add one number per output channel.
    dilation : int or pair of int
        Pixels of y from one weight to the next.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws the parameters from U(-b, b), where
        b = 1 / sqrt(out_channels / groups * kh * kw), as in PyTorch.

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels / groups, kh, kw)
        PyTorch's layout, for both values of `axis`.
    bias : Parameter or None, shape (out_channels,)
    window : Window
        How the kernel moves over y, in the convolution whose gradient this is.

    Raises
    ------
    ValueError
        A size is not a positive integer, `groups` does not divide the channels, or `output_padding`
        is neither smaller than `stride` nor than `dilation`.

    See Also
    --------
    Conv2d : The convolution, whose gradient of x this computes.
    Upsample : Larger images without weights.

    Notes
    -----
    y lies channels-last in memory, whatever its shape, as that of a `Conv2d`.

    References
    ----------
    Dumoulin & Visin, "A guide to convolution arithmetic for deep learning", 2016;
    torch.nn.ConvTranspose2d, which this follows.

    Examples
    --------
    >>> up = ConvTranspose2d(16, 8, kernel_size=2, stride=2, rng=0)
    >>> up(np.ones((2, 16, 5, 7), np.float32)).shape
    (2, 8, 10, 14)
    >>> up
    ConvTranspose2d(16, 8, kernel_size=(2, 2), stride=(2, 2))
    """

    kernel_size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    output_padding: Pair

    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Pair = 1,
        *,
        axis: int = 1,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        _check.channel_axis(axis)
        super().__init__(in_channels, out_channels, groups, bias, axis, dtype, rng)
        self.kernel_size = _check.pair("kernel_size", kernel_size, 1)
        self.stride = _check.pair("stride", stride, 1)
        self.padding = _check.pair("padding", padding, 0)
        self.output_padding = _check.pair("output_padding", output_padding, 0)
        self.dilation = _check.pair("dilation", dilation, 1)
        _check.output_padding(self.output_padding, self.stride, self.dilation)
        if in_channels is not None:
            self._create(in_channels)

    def _create(self, channels: int) -> None:
        shape = (self.out_channels // self.groups, *self.kernel_size)
        self.create(shape, channels, in_channels=channels)

    def build(self, input_shape: Shape) -> None:
        self.output_shape(input_shape)
        if self.built:
            return
        channels = input_shape[0 if self.axis == 1 else 2]
        _check.groups(self.groups, channels, self.out_channels)
        self._create(channels)

    @property
    def window(self) -> Window:
        """How the kernel moves over y, in the convolution whose gradient this is."""
        return window_of(self.kernel_size, self.stride, self.padding, self.dilation)

    def _surplus(self) -> Pair:
        """The pixels of y's height and width that one pixel of x makes, without those of others."""
        steps = zip(self.kernel_size, self.padding, self.output_padding, self.dilation, strict=True)
        height, width = (d * (k - 1) - 2 * p + more + 1 for k, p, more, d in steps)
        return height, width

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.image_shape("ConvTranspose2d", input_shape, self.axis, self.in_channels)
        size = input_shape[1:] if self.axis == 1 else input_shape[:2]
        more, (sh, sw) = self._surplus(), self.stride
        smallest = (max(1, 1 - (more[0] - 1) // sh), max(1, 1 - (more[1] - 1) // sw))
        _check.pixels_at_least("ConvTranspose2d", (size[0], size[1]), smallest)
        out = ((size[0] - 1) * sh + more[0], (size[1] - 1) * sw + more[1])
        return (self.out_channels, *out) if self.axis == 1 else (*out, self.out_channels)

    def forward(self, x: Array) -> Array:
        _check.images("ConvTranspose2d", x, self.axis, self.in_channels)
        shape = (len(x), *self.output_shape(x.shape[1:]))
        if not self.built:
            self.build(x.shape[1:])
        weight, bias = self.parameters_as(x.dtype)
        y = empty_channels_last(shape, x.dtype) if self.axis == 1 else core.empty(shape, x.dtype)
        images, out = self.as_images(x), self.as_images(y)
        strategy().convolve_dx(weight, self.window, images, out, bias)
        self.keep(y, x)
        return y

    def gradients(self, x: Array, dy: Array, input_grad: bool) -> Gradient:
        weight, _ = self.parameters_as(x.dtype)
        images, dout = self.as_images(x), self.as_images(dy)
        dx = core.empty(x.shape, x.dtype, x) if input_grad else None
        if dx is not None:
            strategy().convolve(dout, weight, None, self.window, self.as_images(dx))
        dweight = strategy().convolve_dweight(dout, weight.shape, self.window, images, None)
        self.weight.accumulate(dweight, copy=False)
        if self.bias is not None:
            sums = backward_reduce(dout, dout, np.zeros(self.out_channels))
            self.bias.accumulate(sums.dbias.astype(x.dtype), copy=False)
        return dx

    def as_images(self, x: Array) -> Array:
        return channels_first(x, self.axis)

    def multiply_adds(self, output_shape: Shape) -> int:
        out = output_shape[1:] if self.axis == 1 else output_shape[:2]
        steps = zip(out, self._surplus(), self.stride, strict=True)
        return self.weight.size * math.prod((n - more) // s + 1 for n, more, s in steps)
