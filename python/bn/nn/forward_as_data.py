"""`Steps`: a model whose forward pass is written as data."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from bn import _check
from bn.module import Module
from bn.recording.value import concatenate


class Name(NamedTuple):
    """The result of a step, or an input, as an argument."""

    name: str


class Step(NamedTuple):
    """One call.

    Attributes
    ----------
    name : str
        Of its result.
    call : str
        The path of a layer, or an operation: one of `OPERATIONS`.
    arguments : tuple
        Values, and names of values.
    """

    name: str
    call: str
    arguments: tuple[Any, ...]


def reshaped(x: Any, shape: Sequence[int]) -> Any:
    """The values in C order in another shape, where 0 stands for the same length, -1 for the rest.

    Examples
    --------
    >>> import numpy as np
    >>> reshaped(np.ones((2, 3, 4)), (0, -1)).shape
    (2, 12)
    """
    return x.reshape(*(x.shape[i] if n == 0 else n for i, n in enumerate(shape)))


def transposed(x: Any, axes: Sequence[int]) -> Any:
    """The axes in another order.

    Examples
    --------
    >>> import numpy as np
    >>> transposed(np.ones((2, 3)), (1, 0)).shape
    (3, 2)
    """
    return x.transpose(*axes)


def averaged(x: Any, axes: Sequence[int] | None, keepdims: bool) -> Any:
    """The mean over some axes; None for all.

    Examples
    --------
    >>> import numpy as np
    >>> averaged(np.ones((2, 3)), (1,), True).shape
    (2, 1)
    """
    return x.mean(axes, keepdims=keepdims)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "negative()": operator.neg,
    "concatenate": concatenate,
    "reshape()": reshaped,
    "transpose()": transposed,
    "mean()": averaged,
    "shape()": operator.attrgetter("shape"),
    "[]": operator.getitem,
}


class Steps(Module):
    """Layers and operations that are called one after the other.

    It needs no code of its own, so it can be pickled, and used where the code is not that it was
    made from.

    Parameters
    ----------
    layers : mapping of str to Module
        By their names.
    inputs : sequence of str
        The names of what it is called with.
    steps : sequence of Step
    output : Name
        What it returns.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> steps = [Step("r", "relu", (Name("x"),)), Step("y", "+", (Name("x"), Name("r")))]
    >>> Steps({"relu": nn.ReLU()}, ["x"], steps, Name("y"))(np.array([[-1.0, 2.0]]))
    array([[-1.,  4.]])
    """

    def __init__(
        self,
        layers: Mapping[str, Module],
        inputs: Sequence[str],
        steps: Sequence[Step],
        output: Any,
    ) -> None:
        self.inputs, self.steps, self.output = tuple(inputs), tuple(steps), output
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *values: Any) -> Any:
        """Call the steps in their order."""
        _check.number_of_inputs(self.inputs, len(values))
        known = dict(zip(self.inputs, values, strict=True))
        for name, call, arguments in self.steps:
            function = OPERATIONS[call] if call in OPERATIONS else layer_at(self, call)
            known[name] = function(*(found(each, known) for each in arguments))
        return found(self.output, known)


def layer_at(model: Any, path: str) -> Any:
    """The layer at a path inside a model, on either side."""
    for name in path.split("."):
        if name in vars(model):
            model = vars(model)[name]
        elif isinstance(model, Module):
            model = dict(model.children())[name]
        else:
            model = getattr(model, name)
    return model


def found(argument: Any, known: Mapping[str, Any]) -> Any:
    """An argument with values in the place of names."""
    if isinstance(argument, Name):
        return known[argument.name]
    if isinstance(argument, (list, tuple)):
        return type(argument)(found(each, known) for each in argument)
    return argument
