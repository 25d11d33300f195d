"""Layer and RMS normalization: the last axes of x, taken together, are rows with own statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy import float64

from bn import _check
from bn._core import core
from bn.arrays import takes_arrays
from bn.statistics import Stats, trusted
from bn.types import Array, Doubles

NO_EPILOGUE = (0, 0.0)  # of the kernels: no activation


class Gradients(NamedTuple):
    """What a backward pass finds.

    Attributes
    ----------
    dx : ndarray
    dresidual : ndarray or None
        The gradient of what was added to the output before its activation; None if not asked for.
    dweight, dbias : ndarray of float64
        Of the weight's shape.
    """

    dx: Array
    dresidual: Array | None
    dweight: Doubles
    dbias: Doubles


class Rows:
    """How rows of some length are normalized, and the gradients of it.

    Parameters
    ----------
    size : int
        The length of a row.
    about_zero : bool, default False
        Divide by the root of the mean square, and subtract no mean.
    axes : tuple of int, optional
        The axes that a row is of, in rising order, if they are not the last ones.

    Examples
    --------
    >>> y, batch = Rows(2).forward(np.array([[1.0, 3.0]]), None, None, 0.0)
    >>> y, batch.mean, batch.var
    (array([[-1.,  1.]]), array([2.]), array([1.]))
    """

    def __init__(
        self, size: int, about_zero: bool = False, axes: tuple[int, ...] | None = None
    ) -> None:
        self.size, self.about_zero, self.axes = size, about_zero, axes

    def forward(
        self,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        eps: float,
        residual: Array | None = None,
        epilogue: tuple[int, float] = NO_EPILOGUE,
    ) -> tuple[Array, Stats]:
        """Normalize x.

        Parameters
        ----------
        x : ndarray
            Its rows have `size` values each.
        weight, bias : ndarray or None
            With `size` values.
        eps : float
        residual : ndarray, optional
            Added before the activation.
        epilogue : tuple
            What `epilogue_of` returns.

        Returns
        -------
        y : ndarray
        batch : Stats
            Of each row; about zero, with means of 0.
        """
        if x.size == 0:
            return core.empty_like(x), no_values(x.size // max(self.size, 1))
        rows = self._rows(x)
        y, *moments = core.forward_rows(
            rows, 1, None, None, _doubles(weight), _doubles(bias), eps, self.about_zero,
            None, None if residual is None else self._rows(residual), *epilogue,
        )  # fmt: skip
        return self._like(y, x), stats_of(*moments)

    def backward(
        self,
        dy: Array,
        x: Array,
        batch: Stats,
        weight: Array | None,
        bias: Array | None,
        eps: float,
        y: Array | None = None,
        epilogue: tuple[int, float] = NO_EPILOGUE,
        residual: bool = False,
    ) -> Gradients:
        """The gradients for dy, that of the output.

        Parameters
        ----------
        dy, x : ndarray
        batch : Stats
            What `forward` returned.
        weight, bias, eps, epilogue
            As in `forward`.
        y : ndarray, optional
            What `forward` returned; needed where a residual was activated.
        residual : bool
            Whether the gradient of a residual is wanted.

        Returns
        -------
        Gradients
        """
        if x.size == 0:
            return no_gradients(x, (self.size,), residual)
        rows = self._rows(x)
        g = core.empty_like(rows) if residual else None
        dx, _, _, dweight, dbias = core.backward_rows(
            self._rows(dy), rows, 1, batch.mean, batch.var, None, None, _doubles(weight),
            _doubles(bias), eps, batch.count, self.about_zero, True, None,
            None if y is None else self._rows(y), g, *epilogue,
        )  # fmt: skip
        dresidual = None if g is None else self._like(g, x)
        return Gradients(self._like(dx, x), dresidual, dweight, dbias)

    def _rows(self, a: Array) -> Array:
        return np.require(self._last(a), requirements=("C", "A")).reshape(-1, self.size)

    def _last(self, a: Array) -> Array:
        """A view with the axes of a row as the last ones."""
        return a if self.axes is None else np.moveaxis(a, self.axes, range(-len(self.axes), 0))

    def _like(self, rows: Array, x: Array) -> Array:
        """Rows in the shape of x."""
        a = rows.reshape(self._last(x).shape)
        return a if self.axes is None else np.moveaxis(a, range(-len(self.axes), 0), self.axes)


@takes_arrays
def layer_norm(
    x: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Array:
    """Layer normalization, with the arguments of ``torch.nn.functional.layer_norm``.

    ``y = (x - mean) / sqrt(var + eps) · weight + bias``, where mean and var (biased) are those of
    the last axes of x, for each of the others. It is the same in training and in evaluation.

    Parameters
    ----------
    x : ndarray of float16, bfloat16, float32 or float64
        Its last axes have the lengths in `normalized_shape`.
    normalized_shape : int or sequence of int
        The lengths of the axes that are normalized.
    weight, bias : ndarray of float32 or float64, shape `normalized_shape`, optional
        Scale and shift; None stands for 1 and 0.
    eps : float, default 1e-5
        Added to the variance; at least 0.

    Returns
    -------
    ndarray
        With x's shape and dtype, in C order.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or eps is not as above.

    References
    ----------
    Ba, Kiros & Hinton, "Layer Normalization", 2016.

    Examples
    --------
    >>> layer_norm(np.array([[1.0, 3.0], [10.0, 30.0]]), 2, eps=0.0)
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    sizes = _check.normalized_shape(normalized_shape)
    _check.ends_in(x, sizes)
    _check.optional_of_shape("weight", weight, sizes)
    _check.optional_of_shape("bias", bias, sizes)
    _check.eps(eps)
    return Rows(math.prod(sizes)).forward(x, weight, bias, eps)[0]


@takes_arrays
def rms_norm(
    x: Array,
    normalized_shape: int | Sequence[int],
    weight: Array | None = None,
    eps: float | None = None,
) -> Array:
    """RMS normalization, with the arguments of ``torch.nn.functional.rms_norm``.

    ``y = x / sqrt(mean(x²) + eps) · weight``, where the mean is over the last axes of x.

    Parameters
    ----------
    x : ndarray of float16, bfloat16, float32 or float64
        Its last axes have the lengths in `normalized_shape`.
    normalized_shape : int or sequence of int
        The lengths of the axes that are normalized.
    weight : ndarray of float32 or float64, shape `normalized_shape`, optional
        Scale; None stands for 1.
    eps : float or None
        Added to the mean square; at least 0. None stands for the distance from 1 to the next number
        of the arithmetic's dtype, which is float64 for float64 and else float32.

    Returns
    -------
    ndarray
        With x's shape and dtype, in C order.

    Raises
    ------
    TypeError, ValueError
        A dtype, a shape or eps is not as above.

    References
    ----------
    Zhang & Sennrich, "Root Mean Square Layer Normalization", 2019.

    Examples
    --------
    >>> rms_norm(np.array([[3.0, 4.0, 0.0, 0.0]]), 4, eps=0.0)
    array([[1.2, 1.6, 0. , 0. ]])
    """
    sizes = _check.normalized_shape(normalized_shape)
    _check.ends_in(x, sizes)
    _check.optional_of_shape("weight", weight, sizes)
    eps = eps_of(eps, x)
    return Rows(math.prod(sizes), about_zero=True).forward(x, weight, None, eps)[0]


def eps_of(eps: float | None, x: Array) -> float:
    """The eps of an RMS normalization of x, which is checked."""
    if eps is None:
        return float(np.finfo(float64 if x.dtype == float64 else np.float32).eps)
    _check.eps(eps)
    return eps


def no_gradients(x: Array, shape: tuple[int, ...], residual: bool) -> Gradients:
    """The gradients of an empty x."""
    g = core.empty_like(x) if residual else None
    return Gradients(core.empty_like(x), g, np.zeros(shape), np.zeros(shape))


def stats_of(count: Doubles, mean: Doubles, m2: Doubles) -> Stats:
    """Statistics that the core found."""
    return trusted(Stats, count=count, mean=mean, m2=m2)


def no_values(statistics: int) -> Stats:
    """So many statistics of no value each."""
    return stats_of(*(np.zeros(statistics) for _ in range(3)))


def _doubles(values: Array | None) -> Doubles | None:
    return None if values is None else np.ascontiguousarray(values, float64).reshape(-1)
