"""`Flatten`: each sample of a batch as a vector."""

from __future__ import annotations

import math

from bn import _check
from bn.module import Module
from bn.types import Array, Shape


class Flatten(Module):
    """Merges all axes but the first into one, in C order (the last axis varies fastest).

    Examples
    --------
    >>> import numpy as np
    >>> Flatten()(np.ones((2, 3, 4, 4))).shape
    (2, 48)
    """

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def forward(self, x: Array) -> Array:
        _check.floating("x", x)
        _check.rank_at_least("x", x, 2)
        y = x.reshape(x.shape[0], *self.output_shape(x.shape[1:]))
        self.keep(y, x.shape)
        return y

    def backward(self, dy: Array) -> Array:
        (shape,) = self.take(dy)
        return dy.reshape(shape)

    def extra_repr(self) -> str:
        return "start_dim=1, end_dim=-1"
