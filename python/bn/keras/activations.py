"""Keras's activations by name, each of which is a layer of `bn.nn`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from bn import _check, nn
from bn.keras.configs import named
from bn.module import Module
from bn.types import Array


class Activation:
    """A function that layers take as their `activation`, and that can be called on an array.

    Parameters
    ----------
    name : str
    make : callable
        Makes the layer of `bn.nn` that computes it.

    Examples
    --------
    >>> import numpy as np
    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def __init__(self, name: str, make: Callable[[], Module]) -> None:
        self.__name__ = self.config_name = name
        self.make = make

    def __call__(self, x: Array) -> Array:
        y: Array = self.make()(x)
        return y

    def __reduce__(self) -> tuple[Any, ...]:
        return get, (self.config_name,)  # a copy is the activation itself

    def __repr__(self) -> str:
        return f"bn.keras.activations.{self.__name__}"


linear = Activation("linear", nn.Identity)
relu = Activation("relu", nn.ReLU)
relu6 = Activation("relu6", nn.ReLU6)
leaky_relu = Activation("leaky_relu", partial(nn.LeakyReLU, 0.2))
elu = Activation("elu", nn.ELU)
gelu = Activation("gelu", nn.GELU)
silu = Activation("silu", nn.SiLU)
hard_silu = Activation("hard_silu", nn.Hardswish)
sigmoid = Activation("sigmoid", nn.Sigmoid)
softmax = Activation("softmax", nn.Softmax)
log_softmax = Activation("log_softmax", nn.LogSoftmax)
softplus = Activation("softplus", nn.Softplus)
tanh = Activation("tanh", nn.Tanh)
swish, hard_swish = silu, hard_silu

ALL = (
    linear, relu, relu6, leaky_relu, elu, gelu, silu, hard_silu, sigmoid, softmax,
    log_softmax, softplus, tanh,
)  # fmt: skip
NAMES = {each.config_name: each for each in ALL}
NAMES |= {"swish": silu, "hard_swish": hard_silu}


def get(identifier: Any) -> Activation:
    """The activation that an argument stands for.

    Parameters
    ----------
    identifier : str, Activation or None
        None stands for `linear`.

    Raises
    ------
    TypeError, ValueError
        It stands for none.

    Examples
    --------
    >>> get("relu"), get(None)
    (bn.keras.activations.relu, bn.keras.activations.linear)
    """
    found = linear if identifier is None else named("activation", identifier, NAMES)
    _check.keras_kind("an activation", found, Activation, "a name or of bn.keras.activations")
    return found


def layers_of(activation: Activation) -> list[Module]:
    """The layers that compute an activation: none, or one.

    Parameters
    ----------
    activation : Activation

    Examples
    --------
    >>> layers_of(linear), layers_of(tanh)
    ([], [Tanh()])
    """
    return [] if activation is linear else [activation.make()]
