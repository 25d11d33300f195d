"""`Cast`: between layers of two dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from bn.module import Module
from bn.types import Array


class Cast(Module):
    """What comes in, in another dtype; the gradient gets the one that came in.

    Parameters
    ----------
    dtype : dtype

    Examples
    --------
    >>> cast = Cast(np.dtype(np.float64))
    >>> cast(np.ones(2, np.float32)).dtype, cast.backward(np.ones(2)).dtype
    (dtype('float64'), dtype('float32'))
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype

    def output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def forward(self, x: Array) -> Array:
        y = x.astype(self.dtype)
        self.keep(y, x.dtype)
        return y

    def backward(self, dy: Array) -> Array:
        (given,) = self.take(dy)
        return dy.astype(given)
