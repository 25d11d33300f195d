"""`RandomFlip` and `RandomCrop`: images in a mirror, and images that are shifted."""

from __future__ import annotations

import numpy as np

from bn import _check
from bn._core import core
from bn.nn.augment.base import Augmentation
from bn.types import Array


class RandomFlip(Augmentation):
    """Turns left to right in each image with probability p.

    Parameters
    ----------
    p : float
        The probability, from 0 to 1.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        An argument is not as above.

    References
    ----------
    torchvision.transforms.v2.RandomHorizontalFlip.

    Examples
    --------
    >>> x, _ = RandomFlip(1)(np.array([[[[1.0, 2.0]]]]), None, np.random.default_rng(0))
    >>> x
    array([[[[2., 1.]]]])
    """

    moves_pixels = True

    def __init__(self, p: float = 0.5, *, axis: int = 1) -> None:
        super().__init__(axis=axis)
        _check.interval("p", p, 0, 1)
        self.p = float(p)

    def images(self, x: Array, rng: np.random.Generator) -> Array:
        turned = rng.random(len(x)) < self.p
        y: Array = core.empty_like(x)
        for image, out, turn in zip(x, y, turned.tolist(), strict=True):
            out[...] = image[..., ::-1] if turn else image
        return y

    def extra_repr(self) -> str:
        return f"p={self.p}"


class RandomCrop(Augmentation):
    """Shifts each image by a random number of pixels up or down, and left or right.

    It pads the images, and cuts one of their own size out of each at a random place; all places
    are equally probable.

    Parameters
    ----------
    padding : int or (int, int)
        The largest shifts in pixels: up or down, and left or right.
    padding_mode : {"zeros", "reflect"}
        What comes in at the edges: zeros, or the image in a mirror that stands in the middle of
        its outermost pixels.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        An argument is not as above. On a call: the images are too small to be reflected.

    Notes
    -----
    Where zeros are to be the mean of the images, `Normalize` comes first.

    References
    ----------
    torchvision.transforms.v2.RandomCrop. He et al., "Deep residual learning for image recognition",
    2016, section 4.2: 4 pixels for images of 32 × 32.

    Examples
    --------
    >>> x = np.arange(1.0, 4.0).reshape(1, 1, 1, 3)
    >>> crop = RandomCrop((0, 1))
    >>> rng = np.random.default_rng(0)
    >>> [crop(x, None, rng)[0][0, 0, 0].tolist() for _ in range(3)]
    [[2.0, 3.0, 0.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    """

    moves_pixels = True

    def __init__(
        self, padding: int | tuple[int, int], padding_mode: str = "zeros", *, axis: int = 1
    ) -> None:
        super().__init__(axis=axis)
        self.padding = _check.pair("padding", padding, 0)
        _check.one_of("padding_mode", padding_mode, ("zeros", "reflect"))
        self.padding_mode = padding_mode

    def images(self, x: Array, rng: np.random.Generator) -> Array:
        if self.padding_mode == "reflect":
            smallest = self.padding[0] + 1, self.padding[1] + 1
            _check.pixels_at_least("RandomCrop", (x.shape[2], x.shape[3]), smallest)
        (above, left), (_, channels, h, w) = self.padding, x.shape
        tops, lefts = (rng.integers(0, 2 * most + 1, len(x)).tolist() for most in self.padding)
        y: Array = core.empty_like(x)
        # The padded image, one after the other in the same memory, where the zeros stay.
        padded = core.empty((1, channels, h + 2 * above, w + 2 * left), x.dtype, x)[0]
        padded[...] = 0
        inside = padded[:, above : above + h, left : left + w]
        for image, out, i, j in zip(x, y, tops, lefts, strict=True):
            inside[...] = image
            if self.padding_mode == "reflect":
                reflect(padded.transpose(1, 0, 2), above)
                reflect(padded.transpose(2, 0, 1), left)
            out[...] = padded[:, i : i + h, j : j + w]
        return y

    def extra_repr(self) -> str:
        return f"padding={self.padding}, padding_mode={self.padding_mode!r}"


def reflect(padded: Array, count: int) -> None:
    """Fill the first and the last rows with the reflection of those between.

    Parameters
    ----------
    padded : ndarray
        Its rows are along the first axis.
    count : int
        How many are to be filled at each end; there are more between.

    Examples
    --------
    >>> rows = np.array([0.0, 1.0, 2.0, 0.0])
    >>> reflect(rows, 1)
    >>> rows
    array([2., 1., 2., 1.])
    """
    if count:
        last = len(padded) - count
        padded[:count] = padded[2 * count : count : -1]
        padded[last:] = padded[last - count - 1 : last - 1][::-1]
