"""`Flatten`: each sample of a batch as a vector."""

from __future__ import annotations

import math

from bn import _check
from bn._core import core
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

    def forward(self, x: Array, *, copy: bool = True) -> Array:
        """The samples as vectors, (N, C * H * W) for images.

        Parameters
        ----------
        x : ndarray, at least 2 axes
        copy : bool
            False returns x itself if its vectors would be copies, because it does not lie in memory
            in C order. `Linear` takes such an x with ``flatten=True``.

        Returns
        -------
        ndarray
        """
        _check.floating("x of Flatten", x)
        _check.rank_at_least("x of Flatten", x, 2)
        y = x
        if copy or x.flags.c_contiguous:
            y = x.reshape(x.shape[0], *self.output_shape(x.shape[1:]))
        self.keep(y, x)
        return y

    def backward(self, dy: Array) -> Array:
        (x,) = self.take(dy)
        return core.in_order_of(dy.reshape(x.shape), x)

    def extra_repr(self) -> str:
        return "start_dim=1, end_dim=-1"
