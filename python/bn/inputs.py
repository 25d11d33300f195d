"""What a model is called with: one array, several by position, or several by name.

A tuple holds the arguments of `forward` by position. A mapping holds them by name; arguments that
have no default go by position, because a model records gradients for those, and all others by
name, among them options of its layers such as ``lengths``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import Parameter as Argument
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bn import _check
from bn.types import Array

if TYPE_CHECKING:
    from bn.module import Module

Inputs: TypeAlias = Array | tuple[Array, ...] | Mapping[str, Array]


def call_with(model: Module, x: Inputs) -> Any:
    """What a model returns for its inputs.

    Parameters
    ----------
    model : Module
    x : ndarray, tuple or mapping
        Of arrays that were checked.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> model = nn.models.text_classifier(vocabulary=10, num_classes=3, rng=0)
    >>> call_with(model, {"x": np.ones((2, 4), int), "lengths": np.array([4, 1])}).shape
    (2, 3)
    """
    if isinstance(x, tuple):
        return model(*x)
    if not isinstance(x, Mapping):
        return model(x)
    names = required(type(model).forward)
    _check.named_inputs(type(model).__name__, x, names)
    others = {name: array for name, array in x.items() if name not in names}
    return model(*[x[name] for name in names], **others)


@cache
def required(forward: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a forward's arguments that have no default, without `self`."""
    kinds = (Argument.POSITIONAL_ONLY, Argument.POSITIONAL_OR_KEYWORD)
    given = list(signature(forward).parameters.values())[1:]
    return tuple(a.name for a in given if a.kind in kinds and a.default is a.empty)


def arrays_of(x: Inputs) -> list[Array]:
    """All arrays of a model's inputs."""
    if isinstance(x, tuple):
        return list(x)
    return list(x.values()) if isinstance(x, Mapping) else [x]


def mapped(function: Callable[..., Array], x: Inputs, *others: Inputs) -> Inputs:
    """Apply a function to each array of some inputs, and the arrays at its place in others."""
    if isinstance(x, tuple):
        return tuple(function(*each) for each in zip(x, *others, strict=True))
    if isinstance(x, Mapping):
        return {name: function(array, *[o[name] for o in others]) for name, array in x.items()}  # type: ignore[call-overload]
    return function(x, *others)


def samples(x: Inputs) -> int:
    """How many samples there are."""
    return len(arrays_of(x)[0])


def taken(x: Inputs, rows: Any) -> Inputs:
    """Some samples of all arrays.

    Examples
    --------
    >>> import numpy as np
    >>> taken((np.arange(3), np.arange(3.0)), slice(1, 3))
    (array([1, 2]), array([1., 2.]))
    """
    return mapped(lambda array: array[rows], x)


def joined(parts: Sequence[Inputs]) -> Inputs:
    """The samples of several inputs of the same structure, one after the other."""
    return mapped(lambda *arrays: np.concatenate(arrays), *parts)
