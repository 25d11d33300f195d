"""Batch normalizations with a ReLU behind them, found in the graph of a forward pass."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from bn.torch.fusing import batch_norm_add_relu, batch_norm_relu, is_batch_norm, is_relu

RELUS = (torch.relu, torch.relu_, torch.nn.functional.relu, torch.nn.functional.relu_)
RELU_METHODS = ("relu", "relu_")
ADDITIONS = (operator.add, operator.iadd, torch.add)
ADDITION_METHODS = ("add", "add_")
IN_PLACE = (operator.iadd, "add_")
FRESH = (  # layers whose output shares memory with nothing
    torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.Linear, torch.nn.ConvTranspose2d,
)  # fmt: skip


@dataclass
class Chain:
    """Nodes that become one: a normalization, perhaps an addition, and a ReLU."""

    norm: fx.Node
    addition: fx.Node | None
    relu: fx.Node


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
            found[str(chain.norm.target)] = (
                "ReLU" if chain.addition is None else "addition and ReLU"
            )
    return found


def chain_from(module: torch.nn.Module, norm: fx.Node) -> Chain | None:
    """The chain that begins with a node."""
    if norm.op != "call_module" or len(norm.args) != 1 or norm.kwargs:
        return None
    if not is_batch_norm(module.get_submodule(norm.target)) or called_again(norm):
        return None
    following = only_user(norm)
    if following is None:
        return None
    if applies_relu(module, following):
        chain = Chain(norm, None, following)
        return chain if following is norm.next or is_fresh(module, norm.args[0]) else None
    relu = only_user(following)
    adds = adds_to(norm, following) and relu is following.next and applies_relu(module, relu)
    if adds and (following is norm.next or is_fresh(module, norm.args[0])):
        return Chain(norm, following, relu)
    return None


def called_again(node: fx.Node) -> bool:
    """Whether the graph calls a layer more than once."""
    return sum(n.op == "call_module" and n.target == node.target for n in node.graph.nodes) > 1


def only_user(node: fx.Node) -> fx.Node | None:
    """The node that alone uses another one, once."""
    users = list(node.users)
    once = len(users) == 1 and users[0].all_input_nodes.count(node) == 1
    return users[0] if once and users[0].args.count(node) <= 1 else None


def applies_relu(module: torch.nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return is_relu(module.get_submodule(node.target))
    function = node.op == "call_function" and node.target in RELUS
    method = node.op == "call_method" and node.target in RELU_METHODS
    return (function or method) and len(node.args) == 1 and set(node.kwargs) <= {"inplace"}


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
    """Put one call in the place of a chain's ReLU."""
    norm, addition, relu = chain.norm, chain.addition, chain.relu
    with graph.inserting_before(relu):
        layer = graph.create_node("get_attr", norm.target)
        kept = None
        if relu.op == "call_module":
            kept = graph.create_node("get_attr", relu.target)
        arguments: tuple[Any, ...] = (layer, kept, norm.args[0])
        if addition is None:
            one = graph.call_function(batch_norm_relu, arguments)
        else:
            (residual,) = (each for each in addition.args if each is not norm)
            in_place = addition.target in IN_PLACE
            one = graph.call_function(batch_norm_add_relu, (*arguments, residual, in_place))
    relu.replace_all_uses_with(one)
    for node in (relu, addition, norm):
        if node is not None:
            graph.erase_node(node)
