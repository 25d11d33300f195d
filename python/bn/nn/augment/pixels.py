"""`Normalize` and `Cutout`: other values of pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn._core import core
from bn.functional import normalize
from bn.nn.augment.base import Augmentation
from bn.types import Array


class Normalize(Augmentation):
    r"""Takes a mean from each channel and divides by a standard deviation.

    :math:`y = (x - mean) / std`, with the numbers that are given: nothing is random, and it belongs
    before predictions too.

    Parameters
    ----------
    mean, std : array_like
        One number, or one for each channel.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        A number is not finite, or `std` is not above 0. On a call: their number is not that of the
        channels.
    TypeError
        `mean` or `std` does not hold numbers.

    See Also
    --------
    bn.normalize : The kernel that does it, on all cores.

    References
    ----------
    torchvision.transforms.v2.Normalize.

    Examples
    --------
    >>> x, _ = Normalize([0.5], [0.25])(np.ones((1, 1, 1, 2)), None, np.random.default_rng(0))
    >>> x
    array([[[[2., 2.]]]])
    """

    def __init__(self, mean: ArrayLike, std: ArrayLike, *, axis: int = 1) -> None:
        super().__init__(axis=axis)
        self.mean = _check.channel_constants("mean", mean)
        self.std = _check.deviations("std", std)

    def images(self, x: Array, rng: np.random.Generator) -> Array:
        mean = _check.constants_for("mean", self.mean, x.shape[1])
        std = _check.constants_for("std", self.std, x.shape[1])
        return normalize(x, mean, np.square(std), eps=0.0)

    def extra_repr(self) -> str:
        return f"mean={self.mean.tolist()}, std={self.std.tolist()}"


class Cutout(Augmentation):
    """Sets a square of each image to zero, at a random place.

    The middle of the square is any pixel, with equal probability, so that near the edges a part of
    the square lies outside.

    Parameters
    ----------
    size : int or (int, int)
        The height and the width of the square in pixels.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        An argument is not as above. On a call: the images have no pixels.

    Notes
    -----
    Where the zeros are to be the mean of the images, `Normalize` comes first.

    References
    ----------
    DeVries & Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.

    Examples
    --------
    >>> Cutout(2)(np.ones((1, 1, 3, 3)), None, np.random.default_rng(0))[0]
    array([[[[1., 1., 1.],
             [0., 0., 1.],
             [0., 0., 1.]]]])
    """

    def __init__(self, size: int | tuple[int, int], *, axis: int = 1) -> None:
        super().__init__(axis=axis)
        self.size = _check.pair("size", size, 1)

    def images(self, x: Array, rng: np.random.Generator) -> Array:
        pixels = x.shape[2], x.shape[3]
        _check.pixels_at_least("Cutout", pixels, (1, 1))
        rows, columns = (
            self._covered(rng.integers(0, length, len(x)), size)
            for length, size in zip(pixels, self.size, strict=True)
        )
        y: Array = core.empty_like(x)
        y[...] = x
        for image, row, column in zip(y, rows, columns, strict=True):
            image[:, row, column] = 0
        return y

    @staticmethod
    def _covered(middles: Array, size: int) -> list[slice]:
        """The rows or columns of the square, for each image; it may begin before the first."""
        begins = (middles - size // 2).tolist()
        return [slice(max(0, begin), begin + size) for begin in begins]

    def extra_repr(self) -> str:
        return f"size={self.size}"
