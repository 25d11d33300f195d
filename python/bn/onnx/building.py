"""`Building`: the layers and the steps of a model, made of the nodes of a graph."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from bn.module import Module
from bn.nn.forward_as_data import OPERATIONS, Name, Step, Steps
from bn.onnx.constants_in import FOLDED
from bn.onnx.nodes_in import READERS
from bn.onnx.operands import Constants, Given
from bn.onnx.reading import Message, Node
from bn.onnx.sizes_in import STATISTIC, Sizes
from bn.types import Array

# What layers and constants may take in memory, where several of them share tensors: so many times
# the bytes of the file, and some more.
MOST_COPIES, SMALL = 8, 2**20
MOST_PARTS = 32  # of a path
PART_OF_A_PATH = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")
OWN_NAMES = frozenset(["inputs", "output", "steps", *dir(Module)])


class Building:
    """A model while it is being made.

    Parameters
    ----------
    message : Message

    Attributes
    ----------
    constants : Constants
        The values that do not depend on the inputs.
    sizes : Sizes
    steps : list of Step
    """

    def __init__(self, message: Message) -> None:
        self.message = message
        self.constants = Constants(message.constants, MOST_COPIES * message.size + SMALL)
        self.sizes = Sizes(self.constants)
        self.steps: list[Step] = []
        self._readers: dict[str, list[Node]] = defaultdict(list)
        for node in message.nodes:
            for name in node.inputs:
                self._readers[name].append(node)
        self._done: set[str] = set()  # outputs of nodes that were read with others
        self.root = Module()
        self.root.training = False
        self._taken = {*message.inputs, *(n for node in message.nodes for n in node.outputs)}
        self._numbers: Counter[str] = Counter()
        self._paths: dict[Any, str] = {}  # of layers that may be called again
        self._same: dict[str, str] = {}  # values that are others under another name

    def model(self) -> Module:
        """The whole model."""
        for node in self.message.nodes:
            self._add(node)
        outputs = [name for name in self.message.outputs if self.sizes.kinds.get(name) != STATISTIC]
        if len(outputs) != 1:
            raise ValueError(f"it must have one output, got {len(outputs)}")
        result = self.value(outputs[0])
        if result.name not in {*self.message.inputs, *(step.name for step in self.steps)}:
            raise ValueError(f"its output {outputs[0]} must depend on the input")
        layers = dict(self.root.children())
        made = Steps(layers, self.message.inputs, self.steps, result)
        made.training = False
        return made

    def _add(self, node: Node) -> None:
        """Add the steps of a node, or compute it if all that goes in is constant."""
        if node.outputs and node.outputs[0] in self._done:
            return
        given = Given(node, self.constants, self.message.opset)
        if node.operator in FOLDED and given.all_constant() and not self.sizes.is_large(node):
            self.constants.put(node, FOLDED[node.operator](given))
        elif self.sizes.take(node):
            return
        elif node.operator in READERS:
            READERS[node.operator](self, given)
        else:
            raise ValueError(f"its operators must be those of bn.nn, got {node.operator}")
        given.finish()

    # ---- what readers add ----

    def value(self, name: str) -> Name:
        """A value that is not constant, as an argument of a step."""
        return Name(self._same.get(name, name))

    def operand(self, given: Given, i: int) -> Name | Array:
        """Input i, a value or a constant, as an argument of a step."""
        name = given.name(i)
        if name not in self.constants:
            return self.value(name)
        array = given.constant(i)
        return array.astype(np.float32) if array.dtype.kind in "iub" else array

    def add(self, name: str, call: str, *arguments: Any) -> Name:
        """Add a step, and return the name of its result."""
        self.steps.append(Step(name, call, arguments))
        return Name(name)

    def between(self, call: str, *arguments: Any) -> Name:
        """Add a step whose result has no name in the graph, and return its name."""
        name, count = f"between_{len(self.steps)}", 0
        while name in self._taken:
            name, count = f"between_{len(self.steps)}_{count}", count + 1
        self._taken.add(name)
        return self.add(name, call, *arguments)

    def rename(self, name: str, other: str) -> None:
        """Let a value be another one under a further name."""
        self._same[name] = self._same.get(other, other)

    def layer(self, given: Given, made: Module, *tensors: str, training: bool = False) -> str:
        """Put a layer into the model, and return its path.

        Parameters
        ----------
        given : Given
            What the node has.
        made : Module
        *tensors : str
            The names of the constants that it has. Those of the tensors in the file tell its path.
        training : bool
            The layer's mode.
        """
        made.training = training
        key = (given.key, tuple(map(self.constants.memory, tensors)))
        if tensors and key in self._paths:
            return self._paths[key]
        self._paths[key] = self._place(made, given.operator, tensors)
        return self._paths[key]

    def call(
        self,
        given: Given,
        made: Module,
        *tensors: str,
        x: Name | None = None,
        output: str | None = None,
        training: bool = False,
    ) -> None:
        """Call a layer with the first input, or with x; its output is the node's, or another."""
        path = self.layer(given, made, *tensors, training=training)
        given_x = self.value(given.value(0)) if x is None else x
        self.add(output or given.outputs[0], path, given_x)

    def bias_behind(self, name: str, features: int) -> tuple[str, str] | None:
        """The constant that is added to a value, and the sum, if nothing else reads the value."""
        nodes = self._readers[name]
        if len(nodes) != 1 or nodes[0].operator != "Add" or name in self.message.outputs:
            return None
        (other,) = [each for each in nodes[0].inputs if each != name] or [""]
        if other not in self.constants or self.constants.shape(other) != (features,):
            return None
        self._done.add(nodes[0].outputs[0])
        return other, nodes[0].outputs[0]

    # ---- where layers are ----

    def _place(self, made: Module, operator: str, tensors: Sequence[str]) -> str:
        """Put a layer where the names of its tensors tell, or at the top under its operator."""
        names = map(self.constants.origin, tensors)
        owners = {name.rpartition(".")[0] for name in names} - {""}
        path = owners.pop() if len(owners) == 1 else ""
        if path and self._put(made, path.split(".")):
            return path
        while True:
            name = f"{operator.lower()}_{self._numbers[operator]}"
            self._numbers[operator] += 1
            if self._put(made, [name]):
                return name

    def _put(self, made: Module, parts: Sequence[str]) -> bool:
        """Put a layer at a path; False if something else is there, or the path cannot be one."""
        if len(parts) > MOST_PARTS or not all(map(_can_name, parts)) or parts[0] in OPERATIONS:
            return False
        module, missing = self.root, list(parts)
        while len(missing) > 1 and missing[0] in vars(module):
            module = vars(module)[missing.pop(0)]
            if type(module) is not Module:
                return False
        if missing[0] in vars(module):
            return False
        for part in missing[:-1]:
            inner = Module()
            inner.training = False
            setattr(module, part, inner)
            module = inner
        setattr(module, missing[-1], made)
        return True


def _can_name(part: str) -> bool:
    return PART_OF_A_PATH.fullmatch(part) is not None and part not in OWN_NAMES
