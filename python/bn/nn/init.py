"""PyTorch's default initialisation, and what `rng=` means."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.module import Array, Parameter, Shape

Rng: TypeAlias = int | np.random.Generator | None


def generator(rng: Rng) -> np.random.Generator:
    """The generator that `rng` stands for.

    Parameters
    ----------
    rng : int, Generator or None
        A seed; a generator, which is used as it is, so that layers may share one; or None for
        fresh entropy.

    Returns
    -------
    Generator

    Raises
    ------
    TypeError
        `rng` is none of these.

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
        How many inputs each output sums.
    dtype : dtype_like
        float32 or float64.

    Returns
    -------
    ndarray
        Of `shape` and `dtype`.

    Notes
    -----
    PyTorch writes it as kaiming_uniform_(a=sqrt(5)) for the weight, which is the same bound.

    Examples
    --------
    >>> w = uniform_fan_in(np.random.default_rng(0), (2, 4), fan_in=4, dtype=np.float32)
    >>> w.dtype, bool(abs(w).max() <= 0.5)
    (dtype('float32'), True)
    """
    bound = fan_in**-0.5
    values: Array = rng.uniform(-bound, bound, shape)
    return values.astype(dtype)


def weight_and_bias(
    rng: Rng, weight_shape: Shape, bias: bool, dtype: DTypeLike
) -> tuple[Parameter, Parameter | None, np.dtype[Any]]:
    """The parameters of a new Linear or Conv2d: one bias for each row of the weight.

    Parameters
    ----------
    rng : int, Generator or None
    weight_shape : tuple of int
        Outputs first; the product of the rest is the fan-in.
    bias : bool
        Whether there is one.
    dtype : dtype_like
        float32 or float64.

    Returns
    -------
    (Parameter, Parameter or None, dtype)

    Examples
    --------
    >>> weight, bias, dtype = weight_and_bias(0, (3, 5), True, np.float32)
    >>> weight.shape, bias.shape
    ((3, 5), (3,))
    """
    dtype = _check.floating_dtype(dtype)
    rng = generator(rng)
    fan_in = int(np.prod(weight_shape[1:]))
    weight = Parameter(uniform_fan_in(rng, weight_shape, fan_in, dtype))
    if not bias:
        return weight, None, dtype
    return weight, Parameter(uniform_fan_in(rng, weight_shape[:1], fan_in, dtype)), dtype
