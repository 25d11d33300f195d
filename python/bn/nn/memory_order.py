"""The order in memory of images: channels last is the fastest for convolutions.

As with PyTorch's memory formats, the order is no part of the shape: images of shape (N, C, H, W)
may lie in memory as (N, H, W, C). Layers return the order that is fastest for the next one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bn import _check
from bn._core import core
from bn.types import Array, Shape


def channels_last(x: Array) -> Array:
    """Images with the channels of each pixel side by side in memory.

    Shape and values stay the same. Layers keep the order of their input, so one conversion before
    the first layer serves a whole model; `Conv2d` converts by itself.

    Parameters
    ----------
    x : ndarray, shape (N, C, H, W)

    Returns
    -------
    ndarray
        x itself if its channels are last in memory, without gaps; else a copy.

    Raises
    ------
    TypeError, ValueError
        x is no array of float32 or float64, or has not four axes.

    References
    ----------
    torch.channels_last.

    Examples
    --------
    >>> x = channels_last(np.zeros((2, 3, 4, 5)))
    >>> x.shape, x.strides
    ((2, 3, 4, 5), (480, 8, 120, 24))
    """
    _check.images("channels_last", x, 1)
    if x.transpose(0, 2, 3, 1).flags.c_contiguous:
        return x
    return core.in_order_of(x, empty_channels_last(x.shape, x.dtype))


def empty_channels_last(shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Uninitialised images of shape (N, C, H, W) whose channels are last in memory.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Examples
    --------
    >>> empty_channels_last((2, 3, 4, 5), np.dtype(np.float32)).strides
    (240, 4, 60, 12)
    """
    n, c, h, w = shape
    return core.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
