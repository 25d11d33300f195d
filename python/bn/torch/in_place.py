"""Which calls of a forward pass change values in place that something uses afterwards.

`bn.nn` changes nothing in place, so such a forward pass would compute something else there.
"""

from __future__ import annotations

import operator
from typing import NamedTuple

import torch
from torch import fx

from bn.torch.tracing import traced

# Layers whose output may be their input, or share its memory.
SHARING = (torch.nn.Identity, torch.nn.Flatten, torch.nn.Dropout, torch.nn.Dropout2d)
VIEWS = (torch.flatten, "flatten")  # of the calls that `to_bn` knows


class Effects(NamedTuple):
    """What a call does with the memory of its arguments, which are given by their positions.

    Attributes
    ----------
    changed : set of int
        The arguments that it changes in place.
    shared : set of int
        The arguments whose memory its result may share.
    """

    changed: set[int]
    shared: set[int]


def used_after_change(module: torch.nn.Module, graph: fx.Graph) -> tuple[str, str] | None:
    """The first call that changes a value in place, and what uses the old value afterwards.

    Parameters
    ----------
    module : torch.nn.Module
        Of layers and calls that `to_bn` knows.
    graph : torch.fx.Graph
        Of its forward pass.

    Returns
    -------
    tuple of str or None
        The names of both; None if there is no such call.

    Examples
    --------
    >>> from torch import nn
    >>> used_after_change(relu := nn.Sequential(nn.ReLU(inplace=True)), traced(relu)) is None
    True
    """
    places = {node: i for i, node in enumerate(graph.nodes)}
    changed, memory = followed(module, graph)
    for node in changed:
        for later in list(graph.nodes)[places[node] + 1 :]:
            older = (each for each in later.all_input_nodes if places[each] < places[node])
            if any(memory[each] & changed[node] for each in older):
                return name_of(node), name_of(later)
    return None


Nodes = dict[fx.Node, set[fx.Node]]


def followed(module: torch.nn.Module, graph: fx.Graph) -> tuple[Nodes, Nodes]:
    """For the nodes that change memory, and for all nodes, where that memory comes from.

    It is told by the nodes that made it.
    """
    changed: Nodes = {}
    memory: Nodes = {}
    for node in graph.nodes:
        effects = effects_of_call(module, node)
        memory[node] = made_by(node, effects.shared, memory) or {node}
        if effects.changed:
            changed[node] = made_by(node, effects.changed, memory)
    return changed, memory


def made_by(node: fx.Node, positions: set[int], memory: Nodes) -> set[fx.Node]:
    """The nodes that made the memory of a node's arguments at these positions."""
    arguments = (each for i, each in enumerate(node.args) if i in positions)
    return set().union(*(memory[each] for each in arguments if isinstance(each, fx.Node)))


def effects_of_call(module: torch.nn.Module, node: fx.Node) -> Effects:
    """What one node of a graph does."""
    if node.op == "call_module":
        return effects_of_layer(module.get_submodule(str(node.target)))
    method = node.op == "call_method" and str(node.target).endswith("_")
    if method or node.target is operator.iadd or node.kwargs.get("inplace"):
        return Effects({0}, {0})
    return Effects(set(), {0} if node.target in VIEWS else set())


def effects_of_layer(layer: torch.nn.Module) -> Effects:
    """What a call of a layer, or of a model inside, does."""
    home = type(layer).__module__
    if type(layer) is torch.nn.Sequential or not home.startswith(("torch.nn.", "bn.")):
        return effects_of_graph(layer)
    if getattr(layer, "inplace", False):
        return Effects({0}, {0})
    return Effects(set(), {0} if isinstance(layer, SHARING) else set())


def effects_of_graph(module: torch.nn.Module) -> Effects:
    """What the forward pass of a model does."""
    graph = traced(module)
    changed, memory = followed(module, graph)
    lost = set().union(*changed.values())
    returned = set().union(*(memory[each] for each in graph.output_node().all_input_nodes))
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    return Effects(
        {i for i, node in enumerate(inputs) if node in lost},
        {i for i, node in enumerate(inputs) if node in returned},
    )


def name_of(node: fx.Node) -> str:
    """What a message calls a node."""
    if node.target is operator.iadd:
        return "+="
    if node.op == "output":
        return "return"
    name = getattr(node.target, "__name__", str(node.target))
    return f"self.{name}" if node.op == "call_module" else name
