"""Operations on values as steps of a forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bn.nn.forward_as_data import Name
from bn.onnx.operands import Given, index_on, slice_index
from bn.onnx.readers import reads
from bn.onnx.sizes_in import SHAPE

if TYPE_CHECKING:
    from bn.onnx.building import Building

ARITHMETIC = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/"}


@reads(*ARITHMETIC)
def arithmetic(building: Building, given: Given) -> None:
    """An operation on two operands."""
    operands = building.operand(given, 0), building.operand(given, 1)
    building.add(given.outputs[0], ARITHMETIC[given.operator], *operands)


@reads("Neg")
def negative(building: Building, given: Given) -> None:
    """The negative."""
    building.add(given.outputs[0], "negative()", building.value(given.value(0)))


@reads("Concat")
def concatenation(building: Building, given: Given) -> None:
    """Values side by side."""
    values = [building.operand(given, i) for i in range(len(given))]
    if not any(isinstance(each, Name) for each in values):
        raise ValueError("an input of Concat must depend on the model's input")
    building.add(given.outputs[0], "concatenate", values, given.attribute("axis"))


@reads("Reshape")
def reshape(building: Building, given: Given) -> None:
    """The values in another shape."""
    given.only("allowzero", 0)
    name = given.name(1)
    shape: Any = building.sizes.kept(name, given.name(0))
    if shape is None:
        is_shape = building.sizes.kinds.get(name) == SHAPE
        shape = building.value(name) if is_shape else tuple(given.integers(1))
    building.add(given.outputs[0], "reshape()", building.value(given.value(0)), shape)


@reads("Shape")
def shape(building: Building, given: Given) -> None:
    """The lengths of the axes."""
    given.only("start", 0)
    building.sizes.note_shape(given.outputs[0], given.name(0))
    building.add(given.outputs[0], "shape()", building.value(given.value(0)))


@reads("Flatten")
def flatten(building: Building, given: Given) -> None:
    """Each sample as a vector."""
    given.only("axis", 1)
    building.add(given.outputs[0], "reshape()", building.value(given.value(0)), (0, -1))


@reads("Transpose")
def transpose(building: Building, given: Given) -> None:
    """The axes in another order."""
    order = tuple(given.attribute("perm", []))
    building.add(given.outputs[0], "transpose()", building.value(given.value(0)), order)


@reads("ReduceMean")
def mean(building: Building, given: Given) -> None:
    """The mean over some axes."""
    axes = given.attribute("axes", None)
    axes = given.integers(1) if len(given) > 1 else axes
    given.only("noop_with_empty_axes", 0)
    keepdims = bool(given.attribute("keepdims", 1))
    arguments = (None if axes is None else tuple(axes), keepdims)
    building.add(given.outputs[0], "mean()", building.value(given.value(0)), *arguments)


@reads("Slice")
def slices(building: Building, given: Given) -> None:
    """Parts of some axes."""
    index = slice_index(given)
    building.add(given.outputs[0], "[]", building.value(given.value(0)), index)


@reads("Unsqueeze")
def unsqueeze(building: Building, given: Given) -> None:
    """New axes of length 1."""
    index = index_on(dict.fromkeys(given.integers(1), None))
    building.add(given.outputs[0], "[]", building.value(given.value(0)), index)


@reads("Squeeze")
def squeeze(building: Building, given: Given) -> None:
    """Without axes of length 1."""
    index = index_on(dict.fromkeys(given.integers(1), 0))
    building.add(given.outputs[0], "[]", building.value(given.value(0)), index)


@reads("Identity")
def identity(building: Building, given: Given) -> None:
    """The same value."""
    building.rename(given.outputs[0], given.value(0))


@reads("Cast")
def cast(building: Building, given: Given) -> None:
    """The same value, whose numbers stay float32."""
    given.only("to", 1)
    given.only("saturate", 1, 0)
    building.rename(given.outputs[0], given.value(0))
