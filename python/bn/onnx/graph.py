"""`Graph`: a graph of ONNX while it is being made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bn import _check
from bn.module import Module
from bn.types import Array


class Graph:
    """The nodes and the initializers of a graph.

    Parameters
    ----------
    model : Module
        Its arrays become initializers under their names in the state.
    opset : int
    training : bool
        Whether batch normalizations take the statistics of the batch.

    Attributes
    ----------
    nodes : list of onnx.NodeProto
    initializers : dict of str to ndarray
    updated : dict of str to str
        The values that are further outputs of the graph, by the names of these outputs.
    """

    def __init__(self, model: Module, opset: int, training: bool) -> None:
        self.opset, self.training = opset, training
        self.nodes: list[Any] = []
        self.initializers: dict[str, Array] = {}
        self.updated: dict[str, str] = {}
        self._names = {id(array): name for name, array in model.named_state()}
        self._taken: set[str] = set(self._names.values())
        self.place = ""  # the name of the nodes that are being added

    def tensor(self, array: Any) -> str:
        """The name of an array of the model, or of a constant, in float32."""
        known = self._names.get(id(array))
        values = _check.fits_float32(known or "a constant", np.asarray(array))
        if known is None:
            return self.constant(values)
        self.initializers[known] = values
        return known

    def constant(self, values: Any) -> str:
        """The name of a new initializer of these values, which keep their dtype."""
        name = self.fresh("constant")
        self.initializers[name] = np.asarray(values)
        return name

    def integers(self, *values: int) -> str:
        """The name of a new initializer of integers."""
        return self.constant(np.array(values, np.int64))

    def node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node with one output, and return its name."""
        return self.several(operator, inputs, 1, **attributes)[0]

    def several(
        self, operator: str, inputs: Sequence[str], outputs: int, **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs, and return their names."""
        from onnx import helper

        name = self.fresh(self.place or operator.lower())
        names = [self.fresh(f"{name}:{i}") for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name, **attributes))
        return names

    def name_of(self, array: Array) -> str | None:
        """The name of an array in the model's state."""
        return self._names.get(id(array))

    def fresh(self, name: str) -> str:
        """The name itself, or with a number if it is taken."""
        found, count = name, 1
        while found in self._taken:
            found, count = f"{name}_{count}", count + 1
        self._taken.add(found)
        return found

    def permuted(self, x: str, order: Sequence[int]) -> str:
        """X with its axes in another order."""
        same = list(order) == sorted(order)
        return x if same else self.node("Transpose", [x], perm=list(order))
