"""Recurrent layers as nodes of ONNX: one for each of the layers above each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bn.onnx.graph import Graph
from bn.types import Array, Shape

# Of the gates in ONNX's order, the place in the layer's own order.
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
STATES = {"LSTM": 2, "GRU": 1, "RNN": 1}


def in_order_of_gates(array: Array, kind: str) -> Array:
    """Rows of the gates in ONNX's order.

    Examples
    --------
    >>> in_order_of_gates(np.array([1, 2, 3, 4]), "LSTM")
    array([1, 4, 2, 3])
    """
    parts = np.split(array, len(GATES[kind]))
    return np.concatenate([parts[i] for i in GATES[kind]])


def recurrent(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> list[str]:
    """Add the nodes of a recurrent layer, and return the names of its outputs."""
    kind, directions = type(layer).__name__, 2 if layer.bidirectional else 1
    x = graph.permuted(inputs[0], (1, 0, 2)) if layer.batch_first else inputs[0]
    finals = []
    for level in range(layer.num_layers):
        first = level * directions
        states = [_part(graph, name, first, first + directions) for name in inputs[1:]]
        given = [x, *_weights(graph, layer, kind, level, directions), "", *states]
        while given[-1] == "":
            given.pop()
        y, *final = graph.several(kind, given, 1 + STATES[kind], **_attributes(layer, kind))
        finals.append(final)
        x = _side_by_side(graph, y, (0, 2, 1, 3), (0, 0, directions * layer.hidden_size))
    if not layer.return_sequences:
        y = _side_by_side(graph, finals[-1][0], (1, 0, 2), (0, directions * layer.hidden_size))
    else:
        y = graph.permuted(x, (1, 0, 2)) if layer.batch_first else x
    if not layer.return_state:
        return [y]
    return [y, *(_stacked(graph, parts) for parts in zip(*finals, strict=True))]


def _weights(graph: Graph, layer: Any, kind: str, level: int, directions: int) -> list[str]:
    """The names of W, R and B of one layer."""
    suffixes = [f"_l{level}", f"_l{level}_reverse"][:directions]

    def stacked(name: str) -> Array:
        rows = (getattr(layer, name + suffix).data for suffix in suffixes)
        return np.stack([in_order_of_gates(each, kind) for each in rows])

    found = [stacked("weight_ih"), stacked("weight_hh")]
    if layer.bias:
        found.append(np.concatenate([stacked("bias_ih"), stacked("bias_hh")], axis=1))
    names = [graph.tensor(each) for each in found]
    return names if layer.bias else [*names, ""]


def _attributes(layer: Any, kind: str) -> dict[str, Any]:
    direction = "bidirectional" if layer.bidirectional else "forward"
    found = {"hidden_size": layer.hidden_size, "direction": direction}
    if kind == "GRU":
        found["linear_before_reset"] = 1
    if kind == "RNN":
        name = layer.nonlinearity.capitalize()
        found["activations"] = [name] * (2 if layer.bidirectional else 1)
    return found


def _part(graph: Graph, state: str, start: int, stop: int) -> str:
    """The initial states of one layer."""
    bounds = [graph.integers(start), graph.integers(stop), graph.integers(0)]
    return graph.node("Slice", [state, *bounds])


def _side_by_side(graph: Graph, y: str, order: Sequence[int], shape: Sequence[int]) -> str:
    """The outputs of all directions, one behind the other in the last axis."""
    return graph.node("Reshape", [graph.permuted(y, order), graph.integers(*shape)])


def _stacked(graph: Graph, parts: Sequence[str]) -> str:
    """The final states of all layers."""
    return parts[0] if len(parts) == 1 else graph.node("Concat", list(parts), axis=0)
