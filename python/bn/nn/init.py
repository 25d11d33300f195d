"""The initial values of weights and biases, which are PyTorch's defaults; the argument `rng`."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.types import Array, Shape

Rng: TypeAlias = int | np.random.Generator | None


def generator(rng: Rng) -> np.random.Generator:
    """The generator that `rng` stands for.

    Parameters
    ----------
    rng : int, Generator or None
        A seed, or a generator, which is returned itself, so that layers may share it. None stands
        for a generator with a random seed.

    Returns
    -------
    Generator

    Raises
    ------
    TypeError
        `rng` is something else.

    Examples
    --------
    >>> bool(generator(7).random() == generator(7).random())
    True
    """
    _check.rng(rng)
    return np.random.default_rng(rng)


def uniform_fan_in(rng: np.random.Generator, shape: Shape, fan_in: int, dtype: DTypeLike) -> Array:
    """Draw from U(-b, b) with b = 1 / sqrt(fan_in), the weights and biases of a new layer.

    Parameters
    ----------
    rng : Generator
    shape : tuple of int
    fan_in : int
        The number of inputs that each output is a weighted sum of.
    dtype : dtype_like
        float32 or float64.

    Returns
    -------
    ndarray
        Of `shape` and `dtype`.

    Notes
    -----
    In PyTorch, kaiming_uniform_(a=sqrt(5)) draws the weights with the same bound.

    Examples
    --------
    >>> w = uniform_fan_in(np.random.default_rng(0), (2, 4), fan_in=4, dtype=np.float32)
    >>> w.dtype, bool(abs(w).max() <= 0.5)
    (dtype('float32'), True)
    """
    bound = fan_in**-0.5
    values: Array = rng.uniform(-bound, bound, shape)
    return values.astype(dtype)
