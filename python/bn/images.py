"""The two shapes of images, (N, C, H, W) and (N, H, W, C), and the order of axes in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from bn._core import core
from bn.types import Array


def channels_first(images: Array, axis: int) -> Array:
    """A view of shape (N, C, H, W).

    Parameters
    ----------
    images : ndarray, 4 axes
    axis : {1, 3, -1}
        Their channel axis.

    Examples
    --------
    >>> import numpy as np
    >>> channels_first(np.ones((2, 4, 5, 3)), -1).shape
    (2, 3, 4, 5)
    """
    return images if axis == 1 else images.transpose(0, 3, 1, 2)


def as_given(images: Array, axis: int) -> Array:
    """The view that `channels_first` made a view of.

    Examples
    --------
    >>> import numpy as np
    >>> as_given(np.ones((2, 3, 4, 5)), -1).shape
    (2, 4, 5, 3)
    """
    return images if axis == 1 else images.transpose(0, 2, 3, 1)


def channels_last(images: Array, axis: int) -> Array:
    """A view of shape (N, H, W, C).

    Examples
    --------
    >>> import numpy as np
    >>> channels_last(np.ones((2, 3, 4, 5)), 1).shape
    (2, 4, 5, 3)
    """
    return images.transpose(0, 2, 3, 1) if axis == 1 else images


def signals_as_images(signals: Array, axis: int) -> Array:
    """Signals (N, C, L), or (N, L, C) with axis -1, as images (N, C, 1, L) of one row; a view.

    Examples
    --------
    >>> import numpy as np
    >>> signals_as_images(np.ones((2, 5, 3)), -1).shape
    (2, 3, 1, 5)
    """
    return (signals if axis == 1 else signals.transpose(0, 2, 1))[:, :, None]


def images_as_signals(images: Array, axis: int) -> Array:
    """The view that `signals_as_images` made a view of.

    Examples
    --------
    >>> import numpy as np
    >>> images_as_signals(np.ones((2, 3, 1, 5)), -1).shape
    (2, 5, 3)
    """
    signals = images[:, :, 0]
    return signals if axis == 1 else signals.transpose(0, 2, 1)


class Layout:
    """The shape of an array and the order of its axes in memory, without the array itself.

    Parameters
    ----------
    x : ndarray

    Attributes
    ----------
    shape : tuple of int

    Examples
    --------
    >>> x = np.zeros((2, 3, 4, 5)).transpose(0, 3, 1, 2)
    >>> Layout(x).empty(x.dtype).strides == x.strides
    True
    """

    def __init__(self, x: Array) -> None:
        self.shape = x.shape
        self._order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))

    def empty(self, dtype: np.dtype[Any]) -> Array:
        """An uninitialised array that lies in memory in the same way, without gaps."""
        memory: Array = core.empty(tuple(self.shape[axis] for axis in self._order), dtype)
        return memory.transpose(np.argsort(self._order))
