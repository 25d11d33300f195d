"""The calls of layers between the inputs of a model and its output, in Keras's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bn import _check
from bn.keras.tensors import KerasTensor, Node

if TYPE_CHECKING:
    from bn.keras.layers.base import Layer


class Graph:
    """What a model of the functional API is made of.

    Parameters
    ----------
    inputs : sequence of KerasTensor
    output : KerasTensor

    Attributes
    ----------
    nodes : list of Node
        The calls, each after those that it needs.
    layers : list of Layer
        In the order of Keras's `Model.layers`: by the longest way to the output.

    Raises
    ------
    ValueError
        The output needs another input, or two layers have one name.

    Examples
    --------
    >>> from bn import keras
    >>> x = keras.Input((4,))
    >>> graph = Graph([x], keras.layers.Dense(2, name="last")(x))
    >>> [layer.name for layer in graph.layers][1:]
    ['last']
    """

    def __init__(self, inputs: Sequence[KerasTensor], output: KerasTensor) -> None:
        self.inputs, self.output = tuple(inputs), output
        self.given = {tensor.node for tensor in inputs}
        self.nodes: list[Node] = []
        self._met: dict[Layer, int] = {}  # the order in which the layers are met from the output
        self._visit(output.node)
        self.layers = self._layers_in_order()
        _check.keras_unique_names([layer.name for layer in self.layers])

    def _visit(self, last: Node) -> None:
        """Go back from a call to all that it needs, depth first, without recursion."""
        done: set[Node] = set()
        open_calls: list[tuple[Node, int]] = [(last, 0)]
        while open_calls:
            node, number = open_calls.pop()
            if node in done:
                continue
            self._met.setdefault(node.layer, len(self._met))
            parents = [] if node in self.given else node.parents
            _check.keras_reachable(node.layer.name, bool(parents) or node in self.given)
            if number < len(parents):
                open_calls += [(node, number + 1), (parents[number], 0)]
            else:
                done.add(node)
                self.nodes.append(node)

    def _layers_in_order(self) -> list[Layer]:
        depths = dict.fromkeys(self.nodes, 0)
        farthest: dict[Layer, int] = {}
        for node in reversed(self.nodes):
            depth = max(depths[node], farthest.get(node.layer, 0))
            depths[node] = farthest[node.layer] = depth
            for parent in node.parents if node not in self.given else []:
                depths[parent] = max(depths[parent], depth + 1)
        for node in self.given - set(self.nodes):  # an input that nothing needs
            farthest[node.layer] = 0
            self._met[node.layer] = -1
        self.calls_by_depth = depths
        return sorted(farthest, key=lambda layer: (-farthest[layer], self._met[layer]))

    @property
    def calls(self) -> list[Node]:
        """The calls without the inputs."""
        return [node for node in self.nodes if node not in self.given]

    def run(self, values: Sequence[Any]) -> Any:
        """The output for values of the inputs."""
        known = {tensor.node: value for tensor, value in zip(self.inputs, values, strict=True)}
        for node in self.calls:
            inputs = [known[parent] for parent in node.parents]
            known[node] = node.layer(*inputs, **node.options)
        return known[self.output.node]

    def takes_index(self, number: int) -> bool:
        """Whether an input goes into a layer that takes integers."""
        return any(
            tensor is self.inputs[number] and node.layer.takes_index(i)
            for node in self.calls
            for i, tensor in enumerate(node.inputs)
        )

    @property
    def is_chain(self) -> bool:
        """Whether it is layer after layer, each called once."""
        depths = list(self.calls_by_depth.values())
        alone = all(len(node.inputs) <= 1 for node in self.calls)
        return alone and len(set(depths)) == len(depths) == len(self.layers)
