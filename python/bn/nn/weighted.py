"""`Weighted`: a layer with a weight and a bias, made when the number of its inputs is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.module import Module
from bn.nn.init import Rng, generator, uniform_fan_in
from bn.parameter import Parameter
from bn.types import Shape


class Weighted(Module):
    """What the convolutions and `Linear` share.

    Parameters
    ----------
    outputs : int
        Output channels or features.
    bias : bool
        Whether there is one.
    dtype : dtype_like
        Of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator that draws the parameters, or its seed.

    Attributes
    ----------
    weight : Parameter
        Its first axis is the outputs, but for transposed convolutions. A layer that has yet to
        learn the number of its inputs has no weight and no bias.
    bias : Parameter or None

    Examples
    --------
    >>> from bn import nn
    >>> layer = nn.Linear(None, 3, rng=0)
    >>> layer.built, layer(np.ones((2, 5), np.float32)).shape, layer.built, layer.weight.shape
    (False, (2, 3), True, (3, 5))
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, outputs: int, bias: bool, dtype: DTypeLike, rng: Rng) -> None:
        _check.flag("bias", bias)
        self.dtype: np.dtype[Any] = _check.floating_dtype(dtype)
        self._generator: np.random.Generator | None = generator(rng)  # until it has drawn
        self._outputs, self._wants_bias = outputs, bias

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("weight", "bias"):
            _check.parameter(f"{name} of {type(self).__name__}", value, Parameter)
        super().__setattr__(name, value)

    @property
    def built(self) -> bool:
        return "weight" in vars(self)

    @property
    def has_bias(self) -> bool:
        """Whether there is a bias, or will be."""
        return self.bias is not None if self.built else self._wants_bias

    def multiply_adds(self, output_shape: Shape) -> int:
        return self.weight.size * math.prod(output_shape) // self._outputs

    def create(self, shape: Shape, first: int | None = None, **learned: int) -> None:
        """Draw the parameters.

        Parameters
        ----------
        shape : tuple of int
            Of the weight, without its first axis; their product is the fan-in, from which the
            range of the parameters follows.
        first : int or None
            The length of the first axis; None for the number of outputs.
        **learned : int
            Attributes that are set with them.
        """
        rng, fan_in = self._generator, math.prod(shape)
        assert rng is not None
        whole = (self._outputs if first is None else first, *shape)
        weight = Parameter(uniform_fan_in(rng, whole, fan_in, self.dtype))
        made: dict[str, object] = {**learned, "weight": weight, "bias": None, "_generator": None}
        if self._wants_bias:
            made["bias"] = Parameter(uniform_fan_in(rng, (self._outputs,), fan_in, self.dtype))
        vars(self).update(made)  # all at once, whatever interrupts it
