"""Pooling of signals: the maximum or the mean of each window."""

from __future__ import annotations

from bn import _check
from bn.images import images_as_signals, signals_as_images
from bn.nn.pool_base import AvgPool, MaxPool, Pool
from bn.nn.signals import output_length, sample_shape
from bn.nn.window import Pair, Window
from bn.types import Array, Shape

Size = int | tuple[int]


class Pool1d(Pool):
    """What `MaxPool1d` and `AvgPool1d` share: signals are computed as images of one row.

    Examples
    --------
    >>> MaxPool1d(kernel_size=3, stride=2, padding=1).output_shape((16, 8))
    (16, 4)
    """

    def set_sizes(
        self, kernel_size: Size, stride: Size | None, padding: Size, axis: int
    ) -> tuple[Pair, Pair, Pair]:
        """Check the sizes, and return them as those of images of one row."""
        _check.signal_axis(axis)
        kernel = _check.single("kernel_size", kernel_size, 1)
        step = kernel if stride is None else _check.single("stride", stride, 1)
        around = _check.single("padding", padding, 0)
        _check.signal_pool_padding(around, kernel)
        return (1, kernel), (1, step), (0, around)

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.signal_shape(type(self).__name__, input_shape, self.axis)
        channels, length = input_shape if self.axis == 1 else input_shape[::-1]
        return sample_shape(channels, self.output_size((1, length))[1], self.axis)

    def _size_of(self, window: Window, size: Pair) -> Pair:
        return 1, output_length(type(self).__name__, window, size[1])

    def check(self, x: Array) -> None:
        _check.signals(type(self).__name__, x, self.axis)

    def as_images(self, x: Array) -> Array:
        return signals_as_images(x, self.axis)

    def as_given(self, images: Array) -> Array:
        return images_as_signals(images, self.axis)


class MaxPool1d(MaxPool, Pool1d):
    """The maximum of each window of a signal.

    Among equal values the first one gets the gradient. The maximum of a window with NaN is NaN; the
    last NaN gets the gradient. The padding is never the maximum.

    Parameters
    ----------
    kernel_size : int
        The length of a window.
    stride : int or None
        Values from one window to the next; None for `kernel_size`.
    padding : int
        Values on each side, at most half of the kernel.
    ceil_mode : bool
        Whether a last window that reaches beyond the padded signal counts, if it begins inside the
        signal or in the padding before it.
    axis : {1, -1}
        The channel axis: 1 for (N, C, L), -1 for (N, L, C).

    Raises
    ------
    ValueError
        A size is out of range.

    See Also
    --------
    MaxPool2d : The same for images.

    References
    ----------
    torch.nn.MaxPool1d.

    Examples
    --------
    >>> import numpy as np
    >>> MaxPool1d(2)(np.array([[[1.0, 3.0, 2.0, 0.0]]]))
    array([[[3., 2.]]])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        *,
        ceil_mode: bool = False,
        axis: int = 1,
    ) -> None:
        sizes = self.set_sizes(kernel_size, stride, padding, axis)
        super().__init__(*sizes, ceil_mode, axis)
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        text += f", dilation=1, ceil_mode={self.ceil_mode}"
        return text + f", axis={self.axis}" * (self.axis != 1)


class AvgPool1d(AvgPool, Pool1d):
    """The mean of each window of a signal.

    Parameters
    ----------
    kernel_size : int
        The length of a window.
    stride : int or None
        Values from one window to the next; None for `kernel_size`.
    padding : int
        Zeros on each side, at most half of the kernel.
    ceil_mode : bool
        Whether a last window that reaches beyond the padded signal counts, if it begins inside the
        signal or in the padding before it.
    count_include_pad : bool
        Whether the mean of a window includes the zeros of the padding. What lies beyond the padding
        never counts.
    axis : {1, -1}
        The channel axis: 1 for (N, C, L), -1 for (N, L, C).

    Raises
    ------
    ValueError
        A size is out of range.

    See Also
    --------
    AvgPool2d : The same for images.

    References
    ----------
    torch.nn.AvgPool1d.

    Examples
    --------
    >>> import numpy as np
    >>> AvgPool1d(2)(np.array([[[1.0, 3.0, 2.0, 0.0]]]))
    array([[[2., 1.]]])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        *,
        axis: int = 1,
    ) -> None:
        sizes = self.set_sizes(kernel_size, stride, padding, axis)
        super().__init__(*sizes, ceil_mode, count_include_pad, axis)
        self.kernel_size, self.stride, self.padding = ((size[1],) for size in sizes)

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return text + f", axis={self.axis}" * (self.axis != 1)
