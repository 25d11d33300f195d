"""Layers of `bn.nn` whose padding depends on the size of the image, as Keras's "same" does."""

from __future__ import annotations

from bn import nn
from bn.nn.conv_base import ConvNd
from bn.nn.pool_base import Pool
from bn.nn.window import Pair, Window
from bn.recording.waiting import MaxPooling


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """The pixels before and after an axis, so that there is an output for each stride's beginning.

    Parameters
    ----------
    size, kernel, stride, dilation : int

    Examples
    --------
    >>> same_padding(8, 3, 2), same_padding(7, 3, 2), same_padding(8, 2, 1)
    ((0, 1), (1, 1), (0, 1))
    """
    total = max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
    return total // 2, total - total // 2


class SamePaddedConv(ConvNd):
    """A convolution with Keras's "same": before the image the smaller half of the padding."""

    def window_on(self, size: Pair) -> Window:
        w = self.window
        pads = [
            same_padding(*each) for each in zip(size, w.kernel, w.stride, w.dilation, strict=True)
        ]
        (top, bottom), (left, right) = pads
        return w._replace(before=(top, left), after=(bottom, right))


class SameConv2d(SamePaddedConv, nn.Conv2d):
    """`nn.Conv2d` with Keras's "same".

    Examples
    --------
    >>> SameConv2d(1, 1, 3, 2, axis=-1).output_shape((7, 8, 1))
    (4, 4, 1)
    """


class SameConv1d(SamePaddedConv, nn.Conv1d):
    """`nn.Conv1d` with Keras's "same".

    Examples
    --------
    >>> SameConv1d(1, 1, 3, 2, axis=-1).output_shape((7, 1))
    (4, 1)
    """


class CausalConv1d(nn.Conv1d):
    """`nn.Conv1d` all of whose padding is before the signal: no output sees what comes after it.

    Examples
    --------
    >>> CausalConv1d(1, 1, 3, axis=-1).output_shape((7, 1))
    (7, 1)
    """

    def window_on(self, size: Pair) -> Window:
        window = self.window
        return window._replace(before=(0, window.dilation[1] * (window.kernel[1] - 1)))


class SamePaddedPool(Pool):
    """A pooling with Keras's "same", whose padding never counts."""

    def output_size(self, size: Pair) -> Pair:
        stride = self.steps()[1]
        return -(-size[0] // stride[0]), -(-size[1] // stride[1])

    def steps_on(self, size: Pair) -> tuple[Pair, Pair, Pair]:
        kernel, stride, _ = self.steps()
        (top, _), (left, _) = self._sides(size)
        return kernel, stride, (top, left)

    def padding_after(self, size: Pair) -> Pair:
        (_, bottom), (_, right) = self._sides(size)
        return bottom, right

    def _sides(self, size: Pair) -> tuple[Pair, Pair]:
        """The padding along the height and along the width, each before and after the image."""
        kernel, stride, _ = self.steps()
        height, width = (same_padding(*each) for each in zip(size, kernel, stride, strict=True))
        return height, width

    def epilogue(self) -> MaxPooling | None:
        return None


class SameMaxPool2d(SamePaddedPool, nn.MaxPool2d):
    """`nn.MaxPool2d` with Keras's "same"."""


class SameMaxPool1d(SamePaddedPool, nn.MaxPool1d):
    """`nn.MaxPool1d` with Keras's "same"."""


class SameAvgPool2d(SamePaddedPool, nn.AvgPool2d):
    """`nn.AvgPool2d` with Keras's "same"."""


class SameAvgPool1d(SamePaddedPool, nn.AvgPool1d):
    """`nn.AvgPool1d` with Keras's "same"."""


class GlobalPool(Pool):
    """A pooling whose one window is the whole image."""

    def output_size(self, size: Pair) -> Pair:
        return 1, 1

    def steps_on(self, size: Pair) -> tuple[Pair, Pair, Pair]:
        return size, (1, 1), (0, 0)

    def epilogue(self) -> MaxPooling | None:
        return None


class GlobalMaxPool2d(GlobalPool, nn.MaxPool2d):
    """The maximum of each channel of an image."""


class GlobalMaxPool1d(GlobalPool, nn.MaxPool1d):
    """The maximum of each channel of a signal."""


class GlobalAvgPool2d(GlobalPool, nn.AvgPool2d):
    """The mean of each channel of an image."""


class GlobalAvgPool1d(GlobalPool, nn.AvgPool1d):
    """The mean of each channel of a signal."""
