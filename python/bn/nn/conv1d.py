"""`Conv1d`: the convolution of signals."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.images import signals_as_images
from bn.nn.conv_base import ConvNd, window_of
from bn.nn.conv_strategy import strategy
from bn.nn.init import Rng
from bn.nn.signals import empty_signals, output_length, sample_shape
from bn.nn.window import Window
from bn.types import Array, Shape


class Conv1d(ConvNd):
    r"""Convolution of signals (a cross-correlation, as is usual in deep learning).

    .. math:: y_{n,o,i} = b_o + \sum_{c,k} w_{o,c,k} \, x_{n,\,c,\,s i + d k - p}

    Parameters
    ----------
    in_channels : int or None
        Channels of x; None learns them from the first x or from `build`.
    out_channels : int
        Channels of y.
    kernel_size : int
        The number of weights of the kernel for each channel.
    stride : int
        Values from one position of the kernel to the next.
    padding : int, "same" or "valid"
        Zeros on each side. "same" keeps the length and needs stride 1; of an odd number of zeros
        the larger part comes after the signal, as in PyTorch. "valid" adds none.
    dilation : int
        Values from one weight to the next.
    groups : int
        The channels are split into this many groups, each with a convolution of its own.
    bias : bool
        Whether to add one number per output channel.
    axis : {1, -1}
        The channel axis: 1 for (N, C, L), -1 for (N, L, C).
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws the parameters from U(-b, b), where
        b = 1 / sqrt(in_channels / groups * kernel_size).

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, kernel_size)
        PyTorch's layout, for both values of `axis`.
    bias : Parameter or None, shape (out_channels,)

    Raises
    ------
    ValueError
        A size is not a positive integer, `groups` does not divide the channels, or `padding` is
        "same" and `stride` is not 1.

    See Also
    --------
    Conv2d : The same for images.

    Notes
    -----
    It is computed as the convolution of images of one row. y lies channels-last in memory,
    whatever its shape, as that of a `Conv2d`.

    References
    ----------
    torch.nn.Conv1d, which this follows; `axis` is Keras's data_format.

    Examples
    --------
    >>> conv = Conv1d(3, 16, kernel_size=5, padding=2, rng=0)
    >>> conv(np.ones((2, 3, 100), np.float32)).shape
    (2, 16, 100)
    >>> conv
    Conv1d(3, 16, kernel_size=(5,), stride=(1,), padding=(2,))
    """

    def __init__(
        self,
        in_channels: int | None,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: int | tuple[int] | str = 0,
        dilation: int | tuple[int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        axis: int = 1,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        _check.signal_axis(axis)
        super().__init__(in_channels, out_channels, groups, bias, axis, dtype, rng)
        self.kernel_size = (_check.single("kernel_size", kernel_size, 1),)
        self.stride = (_check.single("stride", stride, 1),)
        self.dilation = (_check.single("dilation", dilation, 1),)
        self.padding = _check.signal_padding(padding, self.stride)
        if in_channels is not None:
            self.create((in_channels // groups, *self.kernel_size))

    def build(self, input_shape: Shape) -> None:
        self.output_shape(input_shape)
        if self.built:
            return
        channels = input_shape[0 if self.axis == 1 else 1]
        _check.groups(self.groups, channels, self.out_channels)
        self.create((channels // self.groups, *self.kernel_size), in_channels=channels)

    @property
    def window(self) -> Window:
        """How the kernel moves over an image of one row, with the padding in pixels.

        Examples
        --------
        >>> window = Conv1d(1, 1, kernel_size=2, padding="same").window
        >>> window.before, window.after
        ((0, 0), (0, 1))
        """
        padding = self.padding if isinstance(self.padding, str) else (0, self.padding[0])
        steps = (1, self.kernel_size[0]), (1, self.stride[0]), padding, (1, self.dilation[0])
        return window_of(*steps)

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.signal_shape("Conv1d", input_shape, self.axis, self.in_channels)
        length = input_shape[1 if self.axis == 1 else 0]
        out = output_length("Conv1d", self.window_on((1, length)), length)
        return sample_shape(self.out_channels, out, self.axis)

    def forward(self, x: Array) -> Array:
        _check.signals("Conv1d", x, self.axis, self.in_channels)
        shape = self.output_shape(x.shape[1:])
        if not self.built:
            self.build(x.shape[1:])
        weight, bias = self.parameters_as(x.dtype)
        y = empty_signals((len(x), *shape), x.dtype, self.axis)
        images = self.as_images(x)
        window = self.window_on((1, images.shape[3]))
        strategy().convolve(images, self.kernel_of(weight), bias, window, self.as_images(y))
        self.keep(y, x)
        return y

    def as_images(self, x: Array) -> Array:
        return signals_as_images(x, self.axis)
