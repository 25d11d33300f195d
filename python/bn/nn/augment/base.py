"""`Augmentation`: what the augmentations of images share.

They go through a batch image by image: an image stays in a core's cache, and there is no second
array of the batch's size. A crop by NumPy's indexing of the whole batch took twice as long.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bn import _check
from bn.arrays import takes_arrays
from bn.images import as_given, channels_first
from bn.types import Array


class Augmentation:
    """A random change of a batch of images and its targets.

    One of your own defines `images`, or `batch` if it changes the targets too.

    Parameters
    ----------
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Attributes
    ----------
    moves_pixels : bool
        Whether targets with pixels of their own, such as masks, would have to move too. They are an
        error then, because they are not moved.

    Raises
    ------
    ValueError
        `axis` is neither. On a call: x has not four axes.
    TypeError
        On a call: x is no array of float32 or float64, or `rng` is no Generator.

    Notes
    -----
    The x of the result is new, with the dtype and the order of axes in memory of the given one,
    which is not changed.

    Examples
    --------
    >>> class Brightness(Augmentation):
    ...     def images(self, x, rng):
    ...         factors = rng.uniform(0.5, 1.5, (len(x), 1, 1, 1)).astype(x.dtype)
    ...         return x * factors
    >>> x, y = Brightness()(np.ones((2, 3, 4, 4)), np.array([5, 7]), np.random.default_rng(0))
    >>> x[:, 0, 0, 0].round(2), y
    (array([1.14, 0.77]), array([5, 7]))
    """

    moves_pixels = False  # whether targets with pixels of their own would have to move too

    def __init__(self, *, axis: int = 1) -> None:
        _check.channel_axis(axis)
        self.axis = axis

    @takes_arrays
    def __call__(self, x: Array, y: Any, rng: np.random.Generator) -> tuple[Array, Any]:
        """The changed images and their targets.

        Parameters
        ----------
        x : ndarray, shape (N, C, H, W) or (N, H, W, C)
        y : ndarray
            The targets, one for each image.
        rng : Generator
            Where all that is random comes from.

        Returns
        -------
        x, y
        """
        _check.images(type(self).__name__, x, self.axis)
        _check.batch_generator(rng)
        if self.moves_pixels:
            _check.no_target_images(type(self).__name__, y)
        images, y = self.batch(channels_first(x, self.axis), y, rng)
        return as_given(images, self.axis), y

    def batch(self, x: Array, y: Any, rng: np.random.Generator) -> tuple[Array, Any]:
        """What a call returns, for x of shape (N, C, H, W)."""
        return self.images(x, rng), y

    def images(self, x: Array, rng: np.random.Generator) -> Array:
        """The changed images, for x of shape (N, C, H, W)."""
        raise NotImplementedError(f"{type(self).__name__}.images")

    def extra_repr(self) -> str:
        """What stands between the parentheses of the repr, but for the axis."""
        return ""

    def __repr__(self) -> str:
        parts = [self.extra_repr()] * bool(self.extra_repr())
        parts += [f"axis={self.axis}"] * (self.axis != 1)
        return f"{type(self).__name__}({', '.join(parts)})"
