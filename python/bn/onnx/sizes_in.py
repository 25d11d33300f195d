"""What graphs compute of shapes and of statistics, which the layers of `bn.nn` do by themselves.

PyTorch writes the zeros that an LSTM begins with as nodes, and the shape to which a group
normalization goes back, and the number of samples that a reshape keeps; new running statistics are
outputs. Nodes that compute such values become
no steps: it is noted what they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from bn.onnx.operands import MOST_AXES, Constants
from bn.onnx.reading import Node

SHAPE, NUMBER = "a shape", "a number of a shape"
ZEROS, STATISTIC = "a state of zeros", "a new running statistic"
DERIVING = ("Cast", "Concat", "Gather", "Identity", "Slice", "Squeeze", "Unsqueeze")
FILLING = ("ConstantOfShape", "Expand")
UNCHANGING = ("Cast", "Identity", "Squeeze", "Unsqueeze")
SHAPED = (("Reshape", 1), ("Resize", 3))  # operators, and their input that is a shape
RECURRENT, FIRST_STATE = ("GRU", "LSTM", "RNN"), 5


Part: TypeAlias = "int | tuple[str, int]"


class Sizes:
    """The values of a graph that are no data.

    Parameters
    ----------
    constants : Constants

    Attributes
    ----------
    kinds : dict of str to str
        What each of them is: `SHAPE`, `NUMBER`, `ZEROS` or `STATISTIC`.
    parts : dict of str to tuple
        Of numbers of shapes, where it is known, what each is: a constant, or (value, axis) for the
        length of an axis of a value.
    """

    def __init__(self, constants: Constants) -> None:
        self.constants = constants
        self.kinds: dict[str, str] = {}
        self.parts: dict[str, tuple[Part, ...]] = {}
        self._shapes: dict[str, str] = {}  # whose shape a value is

    def note_shape(self, name: str, of: str) -> None:
        """Note that a value is the shape of another one."""
        self.note([name], SHAPE)
        self._shapes[name] = of

    def kept(self, name: str, value: str) -> tuple[int, ...] | None:
        """Numbers that become the shape of a value, in which 0 stands for an axis that stays."""
        found = []
        for i, part in enumerate(self.parts.get(name, ())):
            if not isinstance(part, int) and part != (value, i):
                return None
            found.append(part if isinstance(part, int) else 0)
        return tuple(found) or None

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
            parts = self._parts(node)
            if parts is not None:
                self.parts[node.outputs[0]] = parts
            return True
        self._check(node, kinds)
        return False

    def _are_numbers(self, node: Node, kinds: list[str | None]) -> bool:
        """Whether all that goes into a node are sizes or constants."""
        both = zip(node.inputs, kinds, strict=True)
        return all(kind in (SHAPE, NUMBER) or name in self.constants for name, kind in both)

    def _parts(self, node: Node) -> tuple[Part, ...] | None:
        """What the numbers are that a node takes from shapes, or puts side by side."""
        first = node.inputs[0]
        if node.operator in ("Gather", "Slice") and first in self._shapes:
            axes = self._axes(node)
            return None if axes is None else tuple((self._shapes[first], axis) for axis in axes)
        if node.operator == "Concat":
            joined = [self._known(name) for name in node.inputs]
            count = sum(len(each) for each in joined if each is not None)
            if None in joined or count > MOST_AXES:  # which a file could double again and again
                return None
            return tuple(part for each in joined if each is not None for part in each)
        return self.parts.get(first) if node.operator in UNCHANGING else None

    def _axes(self, node: Node) -> Sequence[int] | None:
        """The axes whose lengths are taken from a shape, if they are counted from the front."""
        numbers = [self._integers(name) for name in node.inputs[1:]]
        if any(each is None or len(each) != 1 for each in numbers):
            return None
        found = [each[0] for each in numbers if each]
        if node.operator == "Gather":
            return found if found[0] >= 0 else None
        start, stop, *rest = found
        plainly = 0 <= start <= stop <= MOST_AXES and rest in ([], [0], [0, 1])
        return range(start, stop) if plainly else None

    def _known(self, name: str) -> tuple[Part, ...] | None:
        return self._integers(name) if name in self.constants else self.parts.get(name)

    def _integers(self, name: str) -> tuple[int, ...] | None:
        """A constant of a few integers."""
        if name not in self.constants or math.prod(self.constants.shape(name)) > MOST_AXES:
            return None
        array = self.constants.take(name)
        return tuple(map(int, array.ravel())) if array.dtype.kind in "iu" else None

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
            kept = (node.operator, i) in SHAPED and self.kept(node.inputs[i], node.inputs[0])
            if kind is not None and not state and not shape and not kept:
                raise ValueError(f"{node.operator} must not compute with {kind}")
