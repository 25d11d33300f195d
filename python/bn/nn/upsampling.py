"""`Upsample`: larger images, by repeating pixels or by interpolation."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bn import _check
from bn.nn.resampling import Resampling, Taps
from bn.nn.window import Pair

Factors = tuple[float, float]


class Upsample(Resampling):
    r"""Images of another size: each pixel repeated, or interpolated between its neighbours.

    With ``mode="nearest"``, row i of y is row floor(i / s) of x, where s is the scale factor. With
    ``mode="bilinear"`` it is a weighted mean of the two rows of x around the position

    .. math:: p_i = (i + 1/2) / s - 1/2, \quad \text{or} \quad p_i = i \, (h - 1) / (h_{out} - 1)

    with ``align_corners=True``: of row k with the weight k + 1 - p and of row k + 1 with the weight
    p - k, where k = floor(p). Positions outside of the image are moved to its border. The columns
    are computed in the same way.

    Parameters
    ----------
    size : int or pair of int, optional
        The height and width of y, in pixels.
    scale_factor : float or pair of float, optional
        Or how many times as high and wide as x it is, rounded down.
    mode : {"nearest", "bilinear"}
    align_corners : bool, optional
        For "bilinear": whether the centres of the corner pixels of x and y coincide (True), or the
        outer corners of these pixels (False, which None means too).
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        Neither or both of `size` and `scale_factor` are given, one of them is out of range, or
        there is no such mode.

    See Also
    --------
    ConvTranspose2d : Larger images with weights that are learned.

    Notes
    -----
    y and dx have x's order in memory. Images may also become smaller; nothing is averaged then.
    The positions of "nearest" are computed in float32, as in PyTorch, so that the same pixels are
    chosen where i / s is close to an integer.

    References
    ----------
    torch.nn.Upsample.

    Examples
    --------
    >>> x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> Upsample(scale_factor=2)(x)
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.],
             [3., 3., 4., 4.],
             [3., 3., 4., 4.]]]])
    >>> Upsample(size=3, mode="bilinear", align_corners=True)(x)
    array([[[[1. , 1.5, 2. ],
             [2. , 2.5, 3. ],
             [3. , 3.5, 4. ]]]])
    """

    def __init__(
        self,
        size: int | Pair | None = None,
        scale_factor: float | Factors | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        *,
        axis: int = 1,
    ) -> None:
        super().__init__(axis)
        _check.one_of_size_and_scale(size, scale_factor)
        _check.upsample_mode(mode, align_corners)
        self._size = None if size is None else _check.pair("size", size, 1)
        self._factors = None if scale_factor is None else _check.scale_factor(scale_factor)
        self.size, self.mode, self.align_corners = size, mode, align_corners
        self.scale_factor: float | Factors | None = self._factors
        if self._factors is not None and not isinstance(scale_factor, (tuple, list)):
            self.scale_factor = self._factors[0]

    def output_size(self, size: Pair) -> Pair:
        if self._size is not None:
            _check.pixels_at_least("Upsample", size, (1, 1))
            return self._size
        assert self._factors is not None
        smallest = [_smallest_length(factor) for factor in self._factors]
        _check.pixels_at_least("Upsample", size, (smallest[0], smallest[1]))
        height, width = (int(n * factor) for n, factor in zip(size, self._factors, strict=True))
        return height, width

    def taps(self, size: Pair) -> tuple[Taps, Taps]:
        out, factors = self.output_size(size), self._factors or (None, None)
        aligned = bool(self.align_corners)
        rows, columns = (
            nearest(n, m, factor) if self.mode == "nearest" else linear(n, m, factor, aligned)
            for n, m, factor in zip(size, out, factors, strict=True)
        )
        return rows, columns

    def extra_repr(self) -> str:
        what = f"size={self.size}"
        if self.scale_factor is not None:
            what = f"scale_factor={self.scale_factor}"
        return f"{what}, mode={self.mode!r}" + f", axis={self.axis}" * (self.axis != 1)


def _smallest_length(factor: float) -> int:
    """Of an image of which one pixel at least is left."""
    length = max(1, int(1 / factor))
    while int(length * factor) < 1:
        length += 1
    return length


@lru_cache(256)
def nearest(inputs: int, outputs: int, factor: float | None) -> Taps:
    """The taps of repeated pixels.

    Parameters
    ----------
    inputs, outputs : int
    factor : float or None
        None for outputs / inputs.

    Returns
    -------
    Taps

    Examples
    --------
    >>> nearest(2, 4, None).transposed.count
    array([2, 2])
    """
    step = np.float32(inputs) / np.float32(outputs) if factor is None else np.float32(1 / factor)
    if outputs in (inputs, 2 * inputs):  # as in PyTorch, whatever the factor is
        first = np.arange(outputs) * inputs // outputs
    else:
        first = np.floor(np.arange(outputs, dtype=np.float32) * step).astype(np.intp)
    first = np.minimum(first, inputs - 1)
    return Taps(inputs, first, np.ones(outputs, np.intp), np.ones((1, outputs)))


@lru_cache(256)
def linear(inputs: int, outputs: int, factor: float | None, align_corners: bool) -> Taps:
    """The taps of linear interpolation along one axis.

    Parameters
    ----------
    inputs, outputs : int
    factor : float or None
        None for outputs / inputs; with `align_corners` it does not matter.
    align_corners : bool

    Returns
    -------
    Taps

    Examples
    --------
    >>> linear(2, 3, None, True).count
    array([1, 2, 1])
    """
    i = np.arange(outputs)
    if outputs == inputs:  # as in PyTorch, whatever the factor is
        position = i * 1.0
    elif align_corners:
        position = i * ((inputs - 1) / (outputs - 1) if outputs > 1 else 0.0)
    else:
        step = inputs / outputs if factor is None else 1 / factor
        position = np.maximum((i + 0.5) * step - 0.5, 0)
    first = np.minimum(position.astype(np.intp), inputs - 1)
    part = np.where(first < inputs - 1, position - first, 0)
    count = np.where(part > 0, 2, 1)
    weights = np.stack([1 - part, np.where(part > 0, part, 1)])
    return Taps(inputs, first, count, weights)
