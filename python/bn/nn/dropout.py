"""`Dropout` and `Dropout2d`: zeros at random places, as a regularization."""

from __future__ import annotations

import numpy as np

from bn import _check
from bn._core import core
from bn.images import Layout, channels_first
from bn.module import Elementwise
from bn.nn.blocks import in_rows
from bn.nn.init import Rng, generator
from bn.types import Array, Shape


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
        _check.flag("inplace", inplace)
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
        _check.optional_flag("training", training)
        training = self.training if training is None else training
        if not training or self.p == 0:
            self.keep(x, None)
            return x
        y, mask = core.dropout(x, self._seed(), self.p, self._scale())
        self.keep(x, mask)
        return y

    def _seed(self) -> int:
        return int(self.rng.integers(2**64, dtype=np.uint64))

    def backward(self, dy: Array) -> Array:
        (mask,) = self.take(dy)
        return dy if mask is None else core.masked(dy, mask, self._scale())

    def _scale(self) -> float:
        return 1 / (1 - self.p) if self.p < 1 else 1

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace=False"


class Dropout2d(Dropout):
    """Sets whole channels of each image to zero with probability p, in training mode only.

    The other channels are divided by 1 - p, so that the expected value stays the same. In eval mode
    y is x. Which channels become zero follows from one number of the generator for each call.

    Adjoining pixels are much alike, so that zeros at single pixels would take hardly anything away;
    this takes away what one channel has found.

    Parameters
    ----------
    p : float
        The probability, from 0 to 1.
    inplace : bool
        PyTorch's argument; it is taken and ignored.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).
    rng : int, Generator or None
        The generator that chooses the zeros, or its seed.

    Raises
    ------
    ValueError
        `p` is not between 0 and 1.

    See Also
    --------
    Dropout : Zeros at single places.

    References
    ----------
    Tompson et al., "Efficient object localization using convolutional networks", 2015;
    torch.nn.Dropout2d.

    Examples
    --------
    >>> import numpy as np
    >>> y = Dropout2d(0.5, rng=0)(np.ones((1, 6, 2, 2)))
    >>> y[0, :, 0, 0], bool((y == y[:, :, :1, :1]).all())
    (array([0., 2., 2., 2., 2., 2.]), True)
    """

    def __init__(
        self, p: float = 0.5, inplace: bool = False, *, axis: int = 1, rng: Rng = None
    ) -> None:
        super().__init__(p, inplace, rng=rng)
        _check.channel_axis(axis)
        self.axis = axis

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.image_shape("Dropout2d", input_shape, self.axis)
        return input_shape

    def forward(self, x: Array, *, training: bool | None = None) -> Array:
        _check.images("Dropout2d", x, self.axis)
        _check.optional_flag("training", training)
        training = self.training if training is None else training
        if not training or self.p == 0:
            self.keep(x, None)
            return x
        n, channels = channels_first(x, self.axis).shape[:2]
        ones = np.ones((n, channels), x.dtype)
        factors, _ = core.dropout(ones, self._seed(), self.p, self._scale())
        y = core.empty_like(x)
        self._multiply(x, factors, y)
        self.keep(y, factors, Layout(x))
        return y

    def backward(self, dy: Array) -> Array:
        factors, *images = self.take(dy)
        if factors is None:
            return dy
        dx: Array = images[0].empty(dy.dtype)
        self._multiply(dy, factors, dx)
        return dx

    def _multiply(self, x: Array, factors: Array, y: Array) -> None:
        """Write each channel of each image, times its factor, to y."""
        images, out = channels_first(x, self.axis), channels_first(y, self.axis)
        each = factors[:, :, None, None]

        def multiply(part: tuple[slice, ...]) -> None:
            np.multiply(images[part], each[part], out=out[part])

        in_rows(multiply, images)

    def extra_repr(self) -> str:
        return super().extra_repr() + f", axis={self.axis}" * (self.axis != 1)
