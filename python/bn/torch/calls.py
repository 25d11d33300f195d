"""Calls of PyTorch's functions and methods in a forward pass, as operations and layers of `bn`."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx
from torch.nn import functional

from bn import _check

FUNCTIONS = {
    torch.relu: "ReLU",
    functional.relu: "ReLU",
    functional.relu6: "ReLU6",
    torch.sigmoid: "Sigmoid",
    torch.tanh: "Tanh",
    torch.flatten: "Flatten",
    functional.max_pool2d: "MaxPool2d",
    functional.avg_pool2d: "AvgPool2d",
    functional.adaptive_avg_pool2d: "AdaptiveAvgPool2d",
    "relu": "ReLU",
    "relu_": "ReLU",
    "flatten": "Flatten",
}
ADDITIONS = (operator.add, operator.iadd, torch.add)
JOINS = (torch.cat, torch.concat, torch.concatenate)
OPERATIONS = {
    **dict.fromkeys(ADDITIONS, "+"),
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    **dict.fromkeys(JOINS, "concatenate"),
}


def operands(place: str, node: fx.Node) -> list[Any]:
    """The arguments of an operation, in their order.

    Parameters
    ----------
    place : str
        Of the module that calls it.
    node : torch.fx.Node
        Whose target is one of `OPERATIONS`.

    Returns
    -------
    list

    Raises
    ------
    TypeError
        It has an argument that the operation of `bn` has not.

    Examples
    --------
    >>> graph = fx.Graph()
    >>> operands("the top", graph.call_function(torch.cat, ([],), {"dim": 1}))
    [[], 1]
    """
    names = ("tensors", "dim") if node.target in JOINS else ("input", "other")
    given = dict(zip(names, node.args, strict=False))
    given.update({"dim" if name == "axis" else name: v for name, v in node.kwargs.items()})
    name = getattr(node.target, "__name__", str(node.target))
    for other in (each for each in given if each not in names):
        raise _check.convertible(place, f"a call of {name}", f"bn has no argument {other} for it")
    return [given[each] for each in names if each in given]
