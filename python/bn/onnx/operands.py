"""What a node of a graph has: its inputs, which may be constants, and its attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bn.onnx.reading import Node
from bn.types import Array

MISSING = object()
MOST_AXES = 32


class Constants:
    """The values of a graph that do not depend on its inputs.

    Parameters
    ----------
    arrays : mapping of str to ndarray
    most : int
        Bytes that may be taken, each time anew.
    """

    def __init__(self, arrays: Mapping[str, Array], most: int) -> None:
        self._arrays, self._most, self._used = dict(arrays), most, 0
        self._origins: dict[str, str] = {}  # the tensor in the file that a constant was made of

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def take(self, name: str) -> Array:
        """A constant, of which a layer or a step makes a copy."""
        array = self._arrays[name]
        self._count(array)
        return array

    def _count(self, array: Array) -> None:
        self._used += array.nbytes
        if self._used > self._most:
            raise ValueError(f"its layers must take at most {self._most} bytes in memory")

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a constant."""
        shape: tuple[int, ...] = self._arrays[name].shape
        return shape

    def memory(self, name: str) -> tuple[Any, ...]:
        """Where a constant lies: the same for two views of a tensor with the same axes."""
        array = self._arrays[name]
        return (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype)

    def origin(self, name: str) -> str:
        """The name of the tensor in the file that a constant was made of."""
        return self._origins.get(name, name)

    def put(self, node: Node, array: Array) -> None:
        """Note what a node gives."""
        (name,) = node.outputs
        self._count(array)
        self._arrays[name] = array
        if node.inputs:
            self._origins[name] = self.origin(node.inputs[0])


class Given:
    """What a node is called with; what nobody asks for is an error in the end.

    Parameters
    ----------
    node : Node
    constants : Constants
    opset : int

    Attributes
    ----------
    operator : str
    outputs : list of str
    opset : int
    key : tuple
        What nodes have in common that do the same with the same inputs.
    """

    def __init__(self, node: Node, constants: Constants, opset: int) -> None:
        self.operator, self.outputs, self.opset = node.operator, node.outputs, opset
        self._inputs, self._constants = node.inputs, constants
        self._attributes = dict(node.attributes)
        self.key = (node.operator, repr(node.attributes))
        self._asked: set[int] = set()
        self._outputs = 1  # how many are known
        if not node.outputs or not node.outputs[0]:
            raise ValueError(f"{self.operator} must have an output")

    # ---- inputs ----

    def __len__(self) -> int:
        return len(self._inputs)

    def name(self, i: int) -> str:
        """The name of input i; empty if it is left out."""
        self._asked.add(i)
        return self._inputs[i] if i < len(self._inputs) else ""

    def value(self, i: int) -> str:
        """The name of input i, which must not be constant."""
        name = self.name(i)
        if not name or name in self._constants:
            raise ValueError(f"input {i} of {self.operator} must depend on the model's input")
        return name

    def is_constant(self, i: int) -> bool:
        return self.name(i) in self._constants

    def all_constant(self) -> bool:
        """Whether all inputs are constants."""
        return all(self.is_constant(i) for i in range(len(self)))

    def constant(self, i: int, ndim: int | None = None) -> Array:
        """Input i, which must be a constant, and of so many axes."""
        name = self.name(i)
        if name not in self._constants:
            raise ValueError(f"input {i} of {self.operator} must be constant, got {name!r}")
        array = self._constants.take(name)
        if ndim is not None and array.ndim != ndim:
            raise ValueError(
                f"input {i} of {self.operator} must have {ndim} axes, got shape {array.shape}"
            )
        return array

    def optional(self, i: int, ndim: int | None = None) -> Array | None:
        """As `constant`; None if the input is left out."""
        return self.constant(i, ndim) if self.name(i) else None

    def floats(self, i: int, ndim: int | None = None) -> Array:
        """As `constant`, in float32 or float64."""
        array = self.constant(i, ndim)
        return array if array.dtype == np.float64 else array.astype(np.float32)

    def integers(self, i: int) -> list[int]:
        """Input i, which must be a constant of some integers."""
        array = self.constant(i)
        if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > MOST_AXES:
            raise ValueError(f"input {i} of {self.operator} must be up to {MOST_AXES} integers")
        return [int(n) for n in array.ravel()]

    def number(self, i: int, default: float) -> float:
        """Input i, which must be a constant of one number."""
        array = self.optional(i)
        if array is None:
            return default
        if array.size != 1:
            raise ValueError(f"input {i} of {self.operator} must be one number")
        return float(array.reshape(()))

    def names(self, *numbers: int) -> tuple[str, ...]:
        """The names of these inputs, without those that are left out."""
        return tuple(filter(None, map(self.name, numbers)))

    # ---- attributes ----

    def attribute(self, name: str, default: Any = MISSING) -> Any:
        """The value of an attribute."""
        found = self._attributes.pop(name, default)
        if found is MISSING:
            raise ValueError(f"{self.operator} must have the attribute {name}")
        if default is not MISSING and default is not None and type(found) is not type(default):
            raise ValueError(f"{name} of {self.operator} must be like {default!r}, got {found!r}")
        return found

    def only(self, name: str, *known: Any) -> None:
        """Check that an attribute has a known value; the first one is the default."""
        found = self._attributes.pop(name, known[0])
        if found not in known:
            raise ValueError(f"{name} of {self.operator} must be {known[0]!r}, got {found!r}")

    def sizes(self, name: str, count: int, default: int) -> tuple[int, ...]:
        """An attribute of so many integers from 0 on."""
        found = self.attribute(name, [default] * count)
        if len(found) != count or not all(type(n) is int and n >= 0 for n in found):
            raise ValueError(f"{name} of {self.operator} must be {count} sizes, got {found}")
        return tuple(found)

    # ---- the end ----

    def use_outputs(self, count: int) -> None:
        """Note that so many outputs are known, where there are so many."""
        self._outputs = count

    def finish(self) -> None:
        """Check that all that the node has was asked for."""
        for name in self._attributes:
            raise ValueError(f"{self.operator} must have no attribute {name}")
        for i, name in enumerate(self._inputs):
            if name and i not in self._asked:
                raise ValueError(f"{self.operator} must have no input {i}, got {name}")
        for name in self.outputs[self._outputs :]:
            if name:
                raise ValueError(f"{self.operator} must have no output {name} behind the first")


def slice_index(given: Given) -> tuple[Any, ...]:
    """The index of a Slice."""
    starts, stops = given.integers(1), given.integers(2)
    axes = given.integers(3) if given.name(3) else list(range(len(starts)))
    steps = given.integers(4) if given.name(4) else [1] * len(starts)
    if not len(starts) == len(stops) == len(axes) == len(steps) == len(set(axes)) or 0 in steps:
        raise ValueError("Slice must have a start, a stop and a step for each axis")
    return index_on(dict(zip(axes, map(slice, starts, stops, steps), strict=True)))


def index_on(items: Mapping[int, Any]) -> tuple[Any, ...]:
    """An index with these items on these axes, which are all counted from the front or the back.

    Examples
    --------
    >>> index_on({1: 0}), index_on({-2: 0})
    ((slice(None, None, None), 0), (Ellipsis, 0, slice(None, None, None)))
    """
    axes = sorted(items)
    if not axes or axes[0] < -MOST_AXES or axes[-1] >= MOST_AXES or axes[0] < 0 <= axes[-1]:
        raise ValueError(f"axes must all be counted from the front or from the back, got {axes}")
    if axes[0] >= 0:
        return tuple(items.get(axis, slice(None)) for axis in range(axes[-1] + 1))
    return (..., *(items.get(axis, slice(None)) for axis in range(axes[0], 0)))
