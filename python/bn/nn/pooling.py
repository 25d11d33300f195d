"""Pooling of images: the maximum or the mean of each window."""

from __future__ import annotations

from bn import _check
from bn.images import as_given, channels_first
from bn.nn.pool_base import AvgPool, MaxPool, Pool
from bn.nn.window import Pair
from bn.recording.waiting import MaxPooling
from bn.types import Array, Shape


class Pool2d(Pool):
    """What `MaxPool2d` and `AvgPool2d` share: images, and PyTorch's names of the sizes.

    Examples
    --------
    >>> MaxPool2d(kernel_size=3, stride=2, padding=1).output_shape((16, 8, 8))
    (16, 4, 4)
    """

    kernel_size: int | Pair
    stride: int | Pair
    padding: int | Pair

    def set_sizes(
        self, kernel_size: int | Pair, stride: int | Pair | None, padding: int | Pair, axis: int
    ) -> tuple[Pair, Pair, Pair]:
        """Check the sizes, and return them as pairs (height, width)."""
        _check.channel_axis(axis)
        kernel = _check.pair("kernel_size", kernel_size, 1)
        steps = kernel if stride is None else _check.pair("stride", stride, 1)
        around = _check.pair("padding", padding, 0)
        _check.pool_padding(around, kernel)
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        return kernel, steps, around

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.image_shape(type(self).__name__, input_shape, self.axis)
        size = input_shape[1:] if self.axis == 1 else input_shape[:2]
        out = self.output_size((size[0], size[1]))
        return (input_shape[0], *out) if self.axis == 1 else (*out, input_shape[2])

    def check(self, x: Array) -> None:
        _check.images(type(self).__name__, x, self.axis)

    def as_images(self, x: Array) -> Array:
        return channels_first(x, self.axis)

    def as_given(self, images: Array) -> Array:
        return as_given(images, self.axis)

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return text + f", axis={self.axis}" * (self.axis != 1)


class MaxPool2d(MaxPool, Pool2d):
    """The maximum of each window.

    Among equal values the first one, row by row, gets the gradient. The maximum of a window with
    NaN is NaN; the last NaN gets the gradient. The padding is never the maximum. Between forward
    and backward, neither x nor y is kept, but where each maximum is: in one byte, or in four for
    kernels of more than 256 pixels.

    Parameters
    ----------
    kernel_size : int or pair of int
        Height and width of a window, in pixels.
    stride : int, pair of int or None
        Pixels from one window to the next; None for `kernel_size`.
    padding : int or pair of int
        Pixels on each side, at most half of the kernel.
    ceil_mode : bool
        Whether a last window that reaches beyond the padded image counts, if it begins inside the
        image or in the padding before it.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        A size is out of range.

    References
    ----------
    torch.nn.MaxPool2d.

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """

    fuses = True

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        *,
        ceil_mode: bool = False,
        axis: int = 1,
    ) -> None:
        sizes = self.set_sizes(kernel_size, stride, padding, axis)
        super().__init__(*sizes, ceil_mode, axis)

    def epilogue(self) -> MaxPooling | None:
        return None if self.ceil_mode else MaxPooling(*self.steps(), self.axis % 4)

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        text += f", dilation=1, ceil_mode={self.ceil_mode}"
        return text + f", axis={self.axis}" * (self.axis != 1)


class AvgPool2d(AvgPool, Pool2d):
    """The mean of each window.

    Nothing of x or y is kept between forward and backward but the shape and the order in memory.

    Parameters
    ----------
    kernel_size : int or pair of int
        Height and width of a window, in pixels.
    stride : int, pair of int or None
        Pixels from one window to the next; None for `kernel_size`.
    padding : int or pair of int
        Zeros on each side, at most half of the kernel.
    ceil_mode : bool
        Whether a last window that reaches beyond the padded image counts, if it begins inside the
        image or in the padding before it.
    count_include_pad : bool
        Whether the mean of a window includes the zeros of the padding. What lies beyond the padding
        never counts.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        A size is out of range.

    References
    ----------
    torch.nn.AvgPool2d.

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        axis: int = 1,
    ) -> None:
        sizes = self.set_sizes(kernel_size, stride, padding, axis)
        super().__init__(*sizes, ceil_mode, count_include_pad, axis)
