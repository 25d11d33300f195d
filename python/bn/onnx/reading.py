"""The message in a file of ONNX, checked before anything is made of it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bn.types import Array

FIRST_OPSET = 13
OWN_DOMAIN = ("", "ai.onnx")
MOST_NODES = 2**17
# What onnx calls the fields of a tensor whose numbers do not lie in raw_data.
FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
HALF_KINDS = (10, 16)  # float16 and bfloat16 lie in int32_data


class Node(NamedTuple):
    """One node.

    Attributes
    ----------
    operator, name : str
    inputs, outputs : list of str
        Without the empty names at their ends.
    attributes : dict
    """

    operator: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


class Message(NamedTuple):
    """What is in a file.

    Attributes
    ----------
    opset : int
    inputs, outputs : list of str
    nodes : list of Node
        In an order in which each value comes before it is needed.
    constants : dict of str to ndarray
    size : int
        Bytes of the file.
    """

    opset: int
    inputs: list[str]
    outputs: list[str]
    nodes: list[Node]
    constants: dict[str, Array]
    size: int


def message_of(path: str | os.PathLike[str]) -> Message:
    """Read a file of ONNX.

    Tensors in other files are refused, so that no other file is opened. A tensor is made only if
    its numbers are there, so that all tensors take about as much memory as the file has bytes.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Message

    Raises
    ------
    ValueError
        The message breaks one of the format's rules.
    """
    import onnx

    proto, content = onnx.ModelProto(), Path(path).read_bytes()
    proto.ParseFromString(content)
    graph = proto.graph
    if proto.functions or graph.sparse_initializer:
        raise ValueError("it must have no functions and no sparse tensors of its own")
    if len(graph.node) > MOST_NODES:
        raise ValueError(f"it must have up to {MOST_NODES} nodes, got {len(graph.node)}")
    constants = dict(_distinct((t.name, array_of(t.name, t)) for t in graph.initializer))
    inputs = [value.name for value in graph.input if value.name not in constants]
    nodes = [_node(node) for node in graph.node]
    known = [*inputs, *constants]
    if len(set(known)) < len(known) or "" in known:
        raise ValueError("its inputs must have different names")
    _check_order(known, nodes)
    outputs = [value.name for value in graph.output]
    return Message(_opset(proto), inputs, outputs, nodes, constants, len(content))


def _opset(proto: Any) -> int:
    versions = {each.domain: each.version for each in proto.opset_import}
    others = [domain for domain in versions if domain not in OWN_DOMAIN]
    if others:
        raise ValueError(f"its operators must be ONNX's own, got the domain {others[0]!r}")
    opset = max(versions.values(), default=0)
    if opset < FIRST_OPSET:
        raise ValueError(f"its opset must be at least {FIRST_OPSET}, got {opset}")
    return opset


def _distinct(pairs: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    seen = set()
    for name, value in pairs:
        if name in seen:
            raise ValueError(f"it must have the name {name} once")
        seen.add(name)
        yield name, value


def array_of(name: str, tensor: Any) -> Array:
    """The array of a tensor, whose numbers must be there and as many as its shape says.

    Parameters
    ----------
    name : str
        For messages.
    tensor : onnx.TensorProto

    Returns
    -------
    ndarray
    """
    from onnx import TensorProto, helper, numpy_helper

    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ValueError(f"{name} must lie in the file itself, got a tensor in another file")
    if tensor.HasField("segment") or tensor.string_data:
        raise ValueError(f"{name} must be a tensor of numbers")
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{name} must have a known dtype, got {tensor.data_type}") from None
    if len(tensor.dims) > 32 or any(n < 0 for n in tensor.dims):
        raise ValueError(f"{name} must have a shape of up to 32 axes, got {list(tensor.dims)}")
    count = math.prod(tensor.dims)
    given = sum(len(getattr(tensor, each)) for each in FIELDS)
    if tensor.HasField("raw_data"):
        given, count = len(tensor.raw_data), count * dtype.itemsize
    if given != count or (dtype.kind not in "fiub" and tensor.data_type not in HALF_KINDS):
        raise ValueError(f"{name} must have the numbers that its shape and dtype say")
    found: Array = np.array(numpy_helper.to_array(tensor))
    return found


def _node(proto: Any) -> Node:
    if proto.domain not in OWN_DOMAIN:
        raise ValueError(f"its operators must be ONNX's own, got {proto.domain}.{proto.op_type}")
    found = ((a.name, _attribute(proto.op_type, a)) for a in proto.attribute)
    attributes = dict(_distinct(found))
    return Node(proto.op_type, proto.name, _given(proto.input), list(proto.output), attributes)


def _given(names: Sequence[str]) -> list[str]:
    found = list(names)
    while found and not found[-1]:
        found.pop()
    return found


def _attribute(operator: str, attribute: Any) -> Any:
    from onnx import AttributeProto, helper

    kinds = AttributeProto
    if attribute.type == kinds.TENSOR:
        return array_of(f"{attribute.name} of {operator}", attribute.t)
    plain = (kinds.FLOAT, kinds.INT, kinds.STRING, kinds.FLOATS, kinds.INTS, kinds.STRINGS)
    if attribute.type not in plain or attribute.ref_attr_name:
        raise ValueError(f"{operator} must have no attribute like {attribute.name}")
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if attribute.type == kinds.STRINGS:
        return [each.decode() for each in value]
    return list(value) if attribute.type in (kinds.FLOATS, kinds.INTS) else value


def _check_order(known: Sequence[str], nodes: Sequence[Node]) -> None:
    """Check that each value is made once, and before it is needed."""
    made = set(known)
    for node in nodes:
        for name in node.inputs:
            if name and name not in made:
                raise ValueError(f"{name} must be made before {node.operator} needs it")
        for name in filter(None, node.outputs):
            if name in made:
                raise ValueError(f"it must make {name} once")
            made.add(name)
