"""ONNX Runtime, forward only; its operators for rows and for instances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from samples import EPS, Data

OPERATORS = {"LayerNorm": "LayerNormalization", "InstanceNorm": "InstanceNormalization"}


def calls(data: Data, threads: int) -> dict[str, Callable[[], Any]]:
    import onnxruntime
    from onnx import TensorProto, helper

    if data.kind not in OPERATORS:
        return {}
    arrays = {"x": data.x, "weight": data.weight, "bias": data.bias}
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, a.shape)
        for name, a in arrays.items()
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, data.x.shape)
    node = helper.make_node(OPERATORS[data.kind], list(arrays), ["y"], epsilon=EPS)
    graph = helper.make_graph([node], "one_node", inputs, [output])
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return {"forward": lambda: session.run(None, arrays)[0]}
