"""`Dropout`: zeros at random places, as a regularization."""

from __future__ import annotations

import numpy as np

from bn import _check
from bn._core import core
from bn.module import Elementwise
from bn.nn.init import Rng, generator
from bn.types import Array


class Dropout(Elementwise):
    """Sets each element to zero with probability p, in training mode only.

    The other elements are divided by 1 - p, so that the expected value stays the same. In eval mode
    y is x. Which elements become zero follows from one number of the generator for each call, and
    from the order of x in memory.

    Parameters
    ----------
    p : float
        The probability, from 0 to 1.
    inplace : bool
        PyTorch's argument; it is taken and ignored.
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

    def __init__(self, p: float = 0.5, inplace: bool = False, *, rng: Rng = None) -> None:
        _check.interval("p", p, 0, 1)
        self.p = float(p)
        self.rng = generator(rng)

    def forward(self, x: Array, *, training: bool | None = None) -> Array:
        """The output for x.

        Parameters
        ----------
        x : ndarray
        training : bool, optional
            For this call, instead of the layer's mode.

        Returns
        -------
        ndarray
        """
        _check.floating("x of Dropout", x)
        training = self.training if training is None else training
        if not training or self.p == 0:
            self.keep(x, None)
            return x
        seed = int(self.rng.integers(2**64, dtype=np.uint64))
        y, mask = core.dropout(x, seed, self.p, self._scale())
        self.keep(x, mask)
        return y

    def backward(self, dy: Array) -> Array:
        (mask,) = self.take(dy)
        return dy if mask is None else core.masked(dy, mask, self._scale())

    def _scale(self) -> float:
        return 1 / (1 - self.p) if self.p < 1 else 1

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace=False"
