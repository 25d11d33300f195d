"""Batch normalizations with an activation behind them, found in the graph of a forward pass."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from bn.torch.fusing import (
    activation_of,
    batch_norm_activation,
    batch_norm_add_activation,
    is_batch_norm,
)

RELUS = (torch.relu, torch.relu_, torch.nn.functional.relu, torch.nn.functional.relu_)
FUNCTIONS = {**dict.fromkeys(RELUS, "relu"), torch.nn.functional.relu6: "relu6"}
METHODS = {"relu": "relu", "relu_": "relu"}
NAMES = {"relu": "ReLU", "relu6": "ReLU6"}
ADDITIONS = (operator.add, operator.iadd, torch.add)
ADDITION_METHODS = ("add", "add_")
IN_PLACE = (operator.iadd, "add_")
FRESH = (  # layers whose output shares memory with nothing
    torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.Linear, torch.nn.ConvTranspose2d,
)  # fmt: skip


@dataclass
class Chain:
    """Nodes that become one: a normalization, perhaps an addition, and an activation.

    `name` is the activation's.
    """

    norm: fx.Node
    addition: fx.Node | None
    activation: fx.Node
    name: str


def fuse(module: torch.nn.Module, graph: fx.Graph) -> dict[str, str]:
    """Let each chain of a graph be one call, and return the names of their normalizations.

    Parameters
    ----------
    module : torch.nn.Module
        Whose forward pass it is.
    graph : torch.fx.Graph
        It is changed.

    Returns
    -------
    dict of str to str
        What is done in the pass of each.
    """
    found = {}
    for node in list(graph.nodes):
        chain = chain_from(module, node)
        if chain is not None:
            replace(module, graph, chain)
            addition = "" if chain.addition is None else "addition and "
            found[str(chain.norm.target)] = addition + NAMES[chain.name]
    return found


def chain_from(module: torch.nn.Module, norm: fx.Node) -> Chain | None:
    """The chain that begins with a node."""
    following = only_user(norm) if normalizes(module, norm) else None
    if following is None:
        return None
    if following is not norm.next and not is_fresh(module, norm.args[0]):
        return None
    name = applied(module, following)
    if name is not None:
        return Chain(norm, None, following, name)
    last = only_user(following)
    if last is None or last is not following.next or not adds_to(norm, following):
        return None
    name = applied(module, last)
    return None if name is None else Chain(norm, following, last, name)


def normalizes(module: torch.nn.Module, node: fx.Node) -> bool:
    """Whether a node calls a batch normalization that the graph calls once."""
    if node.op != "call_module" or len(node.args) != 1 or node.kwargs:
        return False
    return is_batch_norm(module.get_submodule(node.target)) and not called_again(node)


def called_again(node: fx.Node) -> bool:
    """Whether the graph calls a layer more than once."""
    return sum(n.op == "call_module" and n.target == node.target for n in node.graph.nodes) > 1


def only_user(node: fx.Node) -> fx.Node | None:
    """The node that alone uses another one, once."""
    users = list(node.users)
    once = len(users) == 1 and users[0].all_input_nodes.count(node) == 1
    return users[0] if once and users[0].args.count(node) <= 1 else None


def applied(module: torch.nn.Module, node: fx.Node) -> str | None:
    """The name of the activation that a node applies, if it does."""
    if node.op == "call_module":
        return activation_of(module.get_submodule(node.target))
    alone = len(node.args) == 1 and set(node.kwargs) <= {"inplace"}
    names: dict[Any, str] = {"call_function": FUNCTIONS, "call_method": METHODS}.get(node.op, {})
    return names.get(node.target) if alone else None


def adds_to(norm: fx.Node, node: fx.Node) -> bool:
    """Whether a node adds another one to an output, and changes nothing else in place."""
    function = node.op == "call_function" and node.target in ADDITIONS
    method = node.op == "call_method" and node.target in ADDITION_METHODS
    if not (function or method) or node.kwargs or len(node.args) != 2:
        return False
    both = all(isinstance(each, fx.Node) for each in node.args)
    return both and (node.args[0] is norm or node.target not in IN_PLACE)


def is_fresh(module: torch.nn.Module, x: Any) -> bool:
    """Whether nothing can have changed x when it is normalized later."""
    made = isinstance(x, fx.Node) and x.op == "call_module" and len(x.users) == 1
    return made and type(module.get_submodule(x.target)) in FRESH


def replace(module: torch.nn.Module, graph: fx.Graph, chain: Chain) -> None:
    """Put one call in the place of a chain's activation."""
    norm, addition, last = chain.norm, chain.addition, chain.activation
    with graph.inserting_before(last):
        layer = graph.create_node("get_attr", norm.target)
        after: Any = chain.name
        if last.op == "call_module":
            after = graph.create_node("get_attr", last.target)
        arguments: tuple[Any, ...] = (layer, after, norm.args[0])
        if addition is None:
            one = graph.call_function(batch_norm_activation, arguments)
        else:
            (residual,) = (each for each in addition.args if each is not norm)
            in_place = addition.target in IN_PLACE
            one = graph.call_function(batch_norm_add_activation, (*arguments, residual, in_place))
    last.replace_all_uses_with(one)
    for node in (last, addition, norm):
        if node is not None:
            graph.erase_node(node)
