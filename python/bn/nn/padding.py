"""`ZeroPad2d`: zeros around images."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bn import _check
from bn.nn.resampling import Resampling, Taps
from bn.nn.window import Pair

Sides = tuple[int, int, int, int]


class ZeroPad2d(Resampling):
    """Zeros around images; or pixels less, where a number is negative.

    Parameters
    ----------
    padding : int or four of int
        The pixels on each side: (left, right, top, bottom), or one number for all of them.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        `padding` is something else.

    See Also
    --------
    Conv2d : It pads by itself, equally on opposite sides.

    Notes
    -----
    y and dx have x's order in memory.

    References
    ----------
    torch.nn.ZeroPad2d.

    Examples
    --------
    >>> ZeroPad2d((1, 0, 0, 1))(np.ones((1, 1, 1, 2)))
    array([[[[0., 1., 1.],
             [0., 0., 0.]]]])
    """

    def __init__(self, padding: int | Sides, *, axis: int = 1) -> None:
        super().__init__(axis)
        self.padding = _check.zero_padding(padding)

    def output_size(self, size: Pair) -> Pair:
        left, right, top, bottom = self.padding
        _check.pixels_at_least("ZeroPad2d", size, (max(0, -top - bottom), max(0, -left - right)))
        return size[0] + top + bottom, size[1] + left + right

    def taps(self, size: Pair) -> tuple[Taps, Taps]:
        left, right, top, bottom = self.padding
        return padded(size[0], top, bottom), padded(size[1], left, right)

    def extra_repr(self) -> str:
        return f"{self.padding}" + f", axis={self.axis}" * (self.axis != 1)


@lru_cache(256)
def padded(inputs: int, before: int, after: int) -> Taps:
    """The taps of zeros before and after the pixels along one axis.

    Parameters
    ----------
    inputs, before, after : int

    Returns
    -------
    Taps

    Examples
    --------
    >>> padded(2, 1, 3).count
    array([0, 1, 1, 0, 0, 0])
    """
    outputs = inputs + before + after
    place = np.arange(outputs) - before
    count = (place >= 0) & (place < inputs)
    first = np.clip(place, 0, max(0, inputs - 1))
    return Taps(inputs, first, count, np.ones((1, outputs)))
