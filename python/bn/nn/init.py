"""The initial values of weights and biases, which are PyTorch's defaults; the argument `rng`."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.module import Parameter
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


def weight_and_bias(
    rng: Rng, weight_shape: Shape, bias: bool, dtype: DTypeLike
) -> tuple[Parameter, Parameter | None, np.dtype[Any]]:
    """Draw the parameters of a new Linear or Conv2d: a weight, and a bias for each output.

    Parameters
    ----------
    rng : int, Generator or None
    weight_shape : tuple of int
        The number of outputs comes first; the product of the other sizes is the fan-in.
    bias : bool
        Whether the layer has a bias.
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
