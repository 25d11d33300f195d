"""Conv2d: a sum of weighted neighbours, as matrix products over blocks of images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.module import Array, Module, Shape
from bn.nn import conv_im2col, conv_im2row, conv_pointwise
from bn.nn.conv_im2col import Pair, Window
from bn.nn.init import Rng, weight_and_bias

# Channels-last images with fewer channels than this are faster as columns than as rows.
ROWS_FROM = 16


def channel_sums(dy: Array, axis: int) -> Array:
    """The sum of each channel, the gradient of a bias."""
    if axis == 1:
        sums: Array = dy.sum(axis=(0, 2, 3))
        return sums
    return np.ones(dy.size // dy.shape[-1], dy.dtype) @ dy.reshape(-1, dy.shape[-1])


class Conv2d(Module):
    r"""Convolution of images (cross-correlation, as everywhere in deep learning).

    .. math:: y_{n,o,i,j} = b_o + \sum_{c,k,l} w_{o,c,k,l} \,
              x_{n,\,c,\,s i + d k - p,\,s j + d l - p}

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of x and of y.
    kernel_size : int or pair of int
        Height and width of the kernel, in pixels.
    stride : int or pair of int
        Pixels from one place of the kernel to the next.
    padding : int, pair of int, "same" or "valid"
        Zeros on each side; "same" keeps height and width (stride 1 only; an odd number of zeros
        puts the larger part behind, as PyTorch does), "valid" adds none.
    dilation : int or pair of int
        Pixels from one weight to the next.
    groups : int
        Channels are split into this many groups that do not see each other.
    bias : bool
        Whether to add one number per output channel.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).
    dtype : dtype_like
        Of the parameters, float32 or float64.
    rng : int, Generator or None
        Draws the parameters from U(-b, b), b = 1 / sqrt(in_channels / groups * kh * kw).

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, kh, kw)
        In PyTorch's layout, whatever `axis` is.
    bias : Parameter or None, shape (out_channels,)

    Raises
    ------
    ValueError
        A size is not a positive integer, `groups` does not divide the channels, or "same" is asked
        for with a stride.

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

    def _window(self) -> Window:
        if self.padding == "same":
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            before, after = (
                (total[0] // 2, total[1] // 2),
                (total[0] - total[0] // 2, total[1] - total[1] // 2),
            )
        else:
            before = after = (0, 0) if isinstance(self.padding, str) else self.padding
        return Window(self.kernel_size, self.stride, before, after, self.dilation)

    def _channels_first(self, x: Array) -> Array:
        return x if self.axis == 1 else x.transpose(0, 3, 1, 2)

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.image_shape("Conv2d", input_shape, self.axis, self.in_channels)
        size = input_shape[1:] if self.axis == 1 else input_shape[:2]
        out = self._window().output_size("Conv2d", (size[0], size[1]))
        return (self.out_channels, *out) if self.axis == 1 else (*out, self.out_channels)

    def forward(self, x: Array) -> Array:
        _check.image("x", x, self.axis, self.in_channels)
        y: Array = np.empty((x.shape[0], *self.output_shape(x.shape[1:])), x.dtype)
        weight = self._weight_matrix(x.dtype)
        bias = None if self.bias is None else self.bias.data.astype(x.dtype, copy=False)
        if self._as_rows():
            conv_im2row.convolve(x, self._row_weight(x.dtype), bias, self._window(), y)
        elif self._is_pointwise(x):
            conv_pointwise.convolve(x, weight, bias, y)
        else:
            x_cf, y_cf = self._channels_first(x), self._channels_first(y)
            conv_im2col.convolve(x_cf, weight, bias, self._window(), y_cf)
        self.keep(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.take(dy)
        dx = np.empty(x.shape, x.dtype)
        if self._as_rows():
            row_weight = self._row_weight(x.dtype)
            rows = conv_im2row.convolve_backward(x, row_weight, self._window(), dy, dx)
            dweight = rows.T.reshape(self.out_channels, *self.kernel_size, self.in_channels)
            self.weight.accumulate(dweight.transpose(0, 3, 1, 2))
        else:
            weight = self._weight_matrix(x.dtype)
            if self._is_pointwise(x):
                columns = conv_pointwise.convolve_backward(x, weight, dy, dx)
            else:
                x_cf, dy_cf, dx_cf = map(self._channels_first, (x, dy, dx))
                columns = conv_im2col.convolve_backward(x_cf, dy_cf, dx_cf, weight, self._window())
            self.weight.accumulate(columns.transpose(0, 2, 1).reshape(self.weight.shape))
        if self.bias is not None:
            self.bias.accumulate(channel_sums(dy, self.axis))
        return dx

    def _as_rows(self) -> bool:
        return self.axis == -1 and self.groups == 1 and self.in_channels >= ROWS_FROM

    def _is_pointwise(self, x: Array) -> bool:
        plain = self._window() == Window((1, 1), dilation=self.dilation)
        return plain and self.axis == 1 and x.flags.c_contiguous

    def _weight_matrix(self, dtype: np.dtype[Any]) -> Array:
        weight = self.weight.data.astype(dtype, copy=False)
        return weight.reshape(self.groups, self.out_channels // self.groups, -1)  # (G, O/G, K)

    def _row_weight(self, dtype: np.dtype[Any]) -> Array:
        weight = self.weight.data.astype(dtype, copy=False).transpose(2, 3, 1, 0)
        return weight.reshape(-1, self.out_channels)  # (kh * kw * C, O)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        text += f", padding={self.padding}" * (self.padding != (0, 0))
        text += f", dilation={self.dilation}" * (self.dilation != (1, 1))
        text += f", groups={self.groups}" * (self.groups != 1)
        text += ", bias=False" * (self.bias is None)
        return text + f", axis={self.axis}" * (self.axis != 1)
