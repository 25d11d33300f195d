"""`Dropout`: zeros at random places, as a regularization."""

from __future__ import annotations

from bn import _check
from bn.module import Elementwise
from bn.nn.init import Rng, generator
from bn.types import Array


class Dropout(Elementwise):
    """Sets each element to zero with probability p, in training mode only.

    The other elements are divided by 1 - p, so that the expected value stays the same. In eval mode
    y is x.

    Parameters
    ----------
    p : float
        The probability, from 0 to 1.
    rng : int, Generator or None
        The generator that chooses the zeros, or its seed.

    Raises
    ------
    ValueError
        `p` is not between 0 and 1.

    References
    ----------
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.

    Examples
    --------
    >>> import numpy as np
    >>> y = Dropout(0.5, rng=0)(np.ones((100, 100)))
    >>> [float(v) for v in np.unique(y)], 4800 < int((y == 0).sum()) < 5200
    ([0.0, 2.0], True)
    """

    def __init__(self, p: float = 0.5, *, rng: Rng = None) -> None:
        _check.interval("p", p, 0, 1)
        self.p = float(p)
        self.rng = generator(rng)

    def forward(self, x: Array) -> Array:
        _check.floating("x", x)
        if not self.training or self.p == 0:
            self.keep(x, None)
            return x
        keep = self.rng.random(x.shape, dtype=x.dtype.type) >= self.p  # one byte per number
        self.keep(x, keep)
        return self._masked(x, keep)

    def backward(self, dy: Array) -> Array:
        (keep,) = self.take(dy)
        return dy if keep is None else self._masked(dy, keep)

    def _masked(self, a: Array, keep: Array) -> Array:
        out: Array = a * keep
        if self.p < 1:
            out *= 1 / (1 - self.p)
        return out

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace=False"
