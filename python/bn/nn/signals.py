"""Signals of shape (N, C, L) or (N, L, C): layers compute them as images of one row."""

from __future__ import annotations

from typing import Any

import numpy as np

from bn import _check
from bn._core import core
from bn.nn.window import Window
from bn.types import Array, Shape


def output_length(layer: str, window: Window, length: int) -> int:
    """The length of what a window makes of a signal.

    Parameters
    ----------
    layer : str
        The name of the layer, for the error message.
    window : Window
        On images of one row.
    length : int

    Returns
    -------
    int

    Raises
    ------
    ValueError
        The padded signal is shorter than the kernel.

    Examples
    --------
    >>> output_length("Conv1d", Window(kernel=(1, 3), stride=(1, 2)), 9)
    4
    """
    reach = window.dilation[1] * (window.kernel[1] - 1) + 1
    _check.length_at_least(layer, length, max(0, reach - window.before[1] - window.after[1]))
    return window.output_size(layer, (1, length))[1]


def sample_shape(channels: int, length: int, axis: int) -> Shape:
    """The shape of one signal.

    Examples
    --------
    >>> sample_shape(3, 100, axis=-1)
    (100, 3)
    """
    return (channels, length) if axis == 1 else (length, channels)


def empty_signals(shape: Shape, dtype: np.dtype[Any], axis: int) -> Array:
    """Uninitialised signals of this shape, whose channels are last in memory.

    Examples
    --------
    >>> empty_signals((2, 3, 100), np.dtype(np.float32), axis=1).strides
    (1200, 4, 12)
    """
    if axis != 1:
        return core.empty(shape, dtype)
    n, channels, length = shape
    return core.empty((n, length, channels), dtype).transpose(0, 2, 1)
