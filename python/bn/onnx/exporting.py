"""`export`: a model as a file of ONNX."""

from __future__ import annotations

import os
from collections.abc import Sequence
from inspect import Parameter as Argument
from inspect import signature
from typing import Any

import numpy as np

from bn import _check
from bn.module import Module
from bn.nn.recurrent_base import Recurrent
from bn.nn.replacing import replacing
from bn.onnx.graph import Graph
from bn.onnx.happenings import Forward, Numbered, forward_of
from bn.onnx.layers_out import layer_nodes
from bn.onnx.operations_out import operation
from bn.parameter import Parameter
from bn.types import Shape

FIRST_OPSET, LAST_OPSET = 21, 23
MOST_BYTES = 2**31 - 1  # of a message of protobuf
BATCH = "N"


def export(
    model: Module,
    path: str | os.PathLike[str],
    input_shape: Shape | Sequence[Shape],
    *,
    opset: int = FIRST_OPSET,
    training: bool = False,
) -> None:
    """Write a model to a file of ONNX, which other programs can run.

    The model's forward is run on shapes alone, and its calls become nodes. The initializers have
    the names of `Module.state_dict`; what a node needs in another form, such as the gates of an
    LSTM, is a constant. The first axis of inputs and output, the batch, may have any length.
    Everything is float32, and inputs of an `bn.nn.Embedding` are int64.

    Parameters
    ----------
    model : Module
        Of layers of `bn`, all of them built. It is not changed. `bn.fold` makes a smaller one.
    path : path-like
        The file, which is replaced in one step.
    input_shape : tuple of int, or sequence of them
        The shape of one input without the batch axis; of a model with several inputs, their shapes.
    opset : int, default 21
        The version of ONNX's operators, from 21 to 23.
    training : bool, default False
        False writes what the model computes in eval mode, whatever its mode is. True lets batch
        normalizations take the statistics of the batch, unless they are frozen. Their new running
        statistics are further outputs of the graph, called as in the state, with ``:new`` behind;
        the variance among them is the biased one, as ONNX has it. Dropout is left out always.

    Raises
    ------
    TypeError
        ONNX has no such layer, or not with these arguments; the message names it.
    ValueError
        `input_shape` does not fit the model, `opset` is another one, the model does other things
        for other numbers of samples, or the file would have more than 2 GiB.
    RuntimeError
        A layer is not built.
    OSError
        The file cannot be written.
    ImportError
        onnx is not installed.

    See Also
    --------
    load : The way back.

    References
    ----------
    ONNX operators, https://onnx.ai/onnx/operators/.

    Examples
    --------
    >>> import tempfile
    >>> from bn import nn, onnx
    >>> model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.ReLU())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     onnx.export(model, folder + "/model.onnx", (2,))
    ...     print(onnx.load(folder + "/model.onnx").state_dict().keys())
    dict_keys(['0.weight', '0.bias'])
    """
    _check.instance("model", model, Module)
    _check.flag("training", training)
    _check.between("opset", _check.integer("opset", opset), FIRST_OPSET, LAST_OPSET)
    shapes = _shapes(input_shape)
    _check.onnx_package("bn.onnx.export")
    _check.single_export(model, isinstance(model, Recurrent) and model.return_state)
    graph = Graph(model, opset, training)
    forward = forward_of(model, shapes)
    names = [graph.fresh(name) for name in _input_names(model, len(shapes))]
    result = _write_steps(graph, forward, names)
    proto = _proto(graph, forward, dict(zip(names, shapes, strict=True)), result)
    _check.regular_file(path)
    with replacing(path) as file:
        file.write(proto.SerializeToString())


def _shapes(given: Any) -> list[Shape]:
    several = isinstance(given, Sequence) and given and isinstance(given[0], Sequence)
    return [_check.shape_tuple("input_shape", each) for each in (given if several else [given])]


def _input_names(model: Module, count: int) -> list[str]:
    """The names of the arguments of the model's forward."""
    usual = (Argument.POSITIONAL_ONLY, Argument.POSITIONAL_OR_KEYWORD)
    given = [n for n, a in signature(model.forward).parameters.items() if a.kind in usual]
    if len(given) >= count:
        return given[:count]
    return ["x"] if count == 1 else [f"x{i}" for i in range(count)]


def _write_steps(graph: Graph, forward: Forward, names: Sequence[str]) -> str:
    """Add the nodes of a forward pass, and return the name of its result."""
    known = dict(zip(forward.inputs, names, strict=True))
    for step in forward.steps:
        given = [_name_of(graph, operand, known, step.layer) for operand in step.operands]
        if step.layer is None:
            known[step.outputs[0]] = operation(graph, step, given)
        else:
            shape = step.shapes[0][0]
            found = layer_nodes(graph, step.layer, step.path, given, shape)
            known.update(zip(step.outputs, found, strict=True))
    return known[forward.result]


def _name_of(graph: Graph, operand: Any, known: dict[int, str], layer: Module | None) -> str:
    if isinstance(operand, Numbered):
        return known[operand.number]
    if isinstance(operand, Parameter):
        return graph.tensor(operand.data)
    if layer is None and np.asarray(operand).dtype.kind in "iu":
        return graph.tensor(np.asarray(operand, np.float32))
    return graph.tensor(operand)


def _proto(graph: Graph, forward: Forward, inputs: dict[str, Shape], result: str) -> Any:
    """The whole message, checked by onnx."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    takers = [s for s in forward.steps if s.layer is not None and s.layer.takes_integers]
    integers = {o for step in takers for o in step.operands if isinstance(o, Numbered)}
    kinds = [
        TensorProto.INT64 if Numbered(i) in integers else TensorProto.FLOAT for i in forward.inputs
    ]
    given = [
        helper.make_tensor_value_info(name, kind, (BATCH, *shape))
        for kind, (name, shape) in zip(kinds, inputs.items(), strict=True)
    ]
    y, shape = graph.fresh("y"), _output_shape(forward)
    outputs = [helper.make_tensor_value_info(y, TensorProto.FLOAT, shape)]
    outputs += [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in graph.updated
    ]
    for name, value in {y: result, **graph.updated}.items():
        graph.nodes.append(helper.make_node("Identity", [value], [name]))
    size = sum(array.nbytes for array in graph.initializers.values())
    _check.protobuf_size(size, MOST_BYTES)
    tensors = [numpy_helper.from_array(a, name) for name, a in graph.initializers.items()]
    made = helper.make_graph(graph.nodes, "model", given, outputs, tensors)
    opsets = [helper.make_opsetid("", graph.opset)]
    version = helper.find_min_ir_version_for(opsets)
    proto = helper.make_model(made, opset_imports=opsets, ir_version=version, producer_name="bn")
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _output_shape(forward: Forward) -> list[Any]:
    """The shape of the output; the batch has a name, and what else depends on it has none."""
    one, other = forward.shapes
    found = [n if n == m else None for n, m in zip(one, other, strict=True)]
    return [BATCH, *found[1:]] if found and found[0] is None and one[0] == 2 else found
