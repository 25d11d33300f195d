"""`Window`: how the kernel of a convolution moves over an image."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, TypeAlias

from bn import _check

Pair: TypeAlias = tuple[int, int]  # (height, width)


class Window(NamedTuple):
    """How a kernel moves over an image; each value is a pair (height, width) in pixels.

    Attributes
    ----------
    kernel : (int, int)
        The size of the kernel.
    stride : (int, int)
        The distance from one position of the kernel to the next.
    before, after : (int, int)
        The padding above and left of the image, and below and right of it.
    dilation : (int, int)
        The distance from one weight of the kernel to the next.

    Examples
    --------
    >>> window = Window(kernel=(3, 3), stride=(2, 2), before=(1, 1), after=(1, 1))
    >>> window.output_size("Conv2d", (8, 8))
    (4, 4)
    """

    kernel: Pair
    stride: Pair = (1, 1)
    before: Pair = (0, 0)
    after: Pair = (0, 0)
    dilation: Pair = (1, 1)

    @property
    def pointwise(self) -> bool:
        """Whether each output pixel depends on the one input pixel at the same position.

        Examples
        --------
        >>> Window(kernel=(1, 1)).pointwise, Window(kernel=(1, 1), stride=(2, 2)).pointwise
        (True, False)
        """
        return self == Window((1, 1), dilation=self.dilation)

    def output_size(self, layer: str, size: Pair) -> Pair:
        """The height and width of the output for an image of `size`.

        Parameters
        ----------
        layer : str
            The name of the layer, for the error message.
        size : (int, int)
            The height and width of the image.

        Returns
        -------
        (int, int)

        Raises
        ------
        ValueError
            The padded image is smaller than the kernel.
        """
        return _output_size(self, layer, (size[0], size[1]))


@lru_cache(1024)
def _output_size(window: Window, layer: str, size: Pair) -> Pair:
    room = [n + p + q - d * (k - 1) - 1 for n, k, _, p, q, d in zip(size, *window, strict=True)]
    smallest = (max(0, size[0] - room[0]), max(0, size[1] - room[1]))
    _check.pixels_at_least(layer, size, smallest)
    return room[0] // window.stride[0] + 1, room[1] // window.stride[1] + 1
