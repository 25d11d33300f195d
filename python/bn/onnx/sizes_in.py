"""What graphs compute of shapes and of statistics, which the layers of `bn.nn` do by themselves.

PyTorch writes the zeros that an LSTM begins with as nodes, and the shape to which a group
normalization goes back; new running statistics are outputs. Nodes that compute such values become
no steps: it is noted what they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from bn.onnx.operands import MOST_AXES, Constants
from bn.onnx.reading import Node

SHAPE, NUMBER = "a shape", "a number of a shape"
ZEROS, STATISTIC = "a state of zeros", "a new running statistic"
DERIVING = ("Cast", "Concat", "Gather", "Identity", "Slice", "Squeeze", "Unsqueeze")
FILLING = ("ConstantOfShape", "Expand")
RECURRENT, FIRST_STATE = ("GRU", "LSTM", "RNN"), 5


class Sizes:
    """The values of a graph that are no data.

    Parameters
    ----------
    constants : Constants

    Attributes
    ----------
    kinds : dict of str to str
        What each of them is: `SHAPE`, `NUMBER`, `ZEROS` or `STATISTIC`.
    """

    def __init__(self, constants: Constants) -> None:
        self.constants = constants
        self.kinds: dict[str, str] = {}

    def note(self, names: Iterable[str], kind: str) -> None:
        """Note what values are; those without a name are left out."""
        self.kinds.update(dict.fromkeys(filter(None, names), kind))

    def is_large(self, node: Node) -> bool:
        """Whether a node fills an array that may be large, and must not be made."""
        if node.operator != "ConstantOfShape" or node.inputs[0] not in self.constants:
            return False
        return math.prod(map(int, self.constants.take(node.inputs[0]).ravel())) > MOST_AXES

    def take(self, node: Node) -> bool:
        """Note what a node gives if it computes with such values; else check that it reads none."""
        kinds = [self.kinds.get(name) for name in node.inputs]
        if node.operator in FILLING:
            self._fill(node)
            return True
        if node.operator == "Identity" and kinds == [STATISTIC]:
            self.note(node.outputs, STATISTIC)
            return True
        if node.operator in DERIVING and any(kinds) and self._are_numbers(node, kinds):
            self.note(node.outputs, NUMBER)
            return True
        self._check(node, kinds)
        return False

    def _are_numbers(self, node: Node, kinds: list[str | None]) -> bool:
        """Whether all that goes into a node are sizes or constants."""
        both = zip(node.inputs, kinds, strict=True)
        return all(kind in (SHAPE, NUMBER) or name in self.constants for name, kind in both)

    def _fill(self, node: Node) -> None:
        """Note zeros; nothing else can be filled with a value."""
        value = node.attributes.get("value", 0)
        if node.operator == "Expand":
            value = self.constants.take(node.inputs[0]) if node.inputs[0] in self.constants else 1
        if np.any(value):
            raise ValueError(f"{node.operator} must make zeros for a recurrent layer")
        self.note(node.outputs, ZEROS)

    def _check(self, node: Node, kinds: list[str | None]) -> None:
        for i, kind in enumerate(kinds):
            state = kind == ZEROS and node.operator in RECURRENT and i >= FIRST_STATE
            shape = kind == SHAPE and node.operator == "Reshape" and i == 1
            if kind is not None and not state and not shape:
                raise ValueError(f"{node.operator} must not compute with {kind}")
