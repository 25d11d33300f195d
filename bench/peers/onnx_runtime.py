"""ONNX Runtime, eval only; tuned means input and output bound to existing memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import EPS, Data

from peers import Call, Peer

NAMES = ("x", "weight", "bias", "mean", "var")


class OnnxRuntime(Peer):
    name = "ONNX Runtime"

    def __init__(self, threads: int, tuned: bool) -> None:
        import onnx
        import onnxruntime

        self._onnx, self._ort = onnx, onnxruntime
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._tuned = tuned

    def takes(self, data: Data) -> bool:
        return data.layout == "first" and data.case.dtype != "bfloat16"

    def calls(self, data: Data) -> dict[str, Call]:
        arrays = (data.x, data.weight, data.bias, data.running_mean, data.running_var)
        inputs = dict(zip(NAMES, arrays, strict=True))
        model = self._model(data).SerializeToString()
        session = self._ort.InferenceSession(
            model, self._options, providers=["CPUExecutionProvider"]
        )
        if not self._tuned:
            return {"eval": lambda: session.run(None, inputs)[0]}
        y = np.zeros_like(data.x)
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        binding.bind_output("y", "cpu", 0, y.dtype.type, y.shape, y.ctypes.data)

        def bound() -> np.ndarray:
            session.run_with_iobinding(binding)
            return y

        return {"eval": bound}

    def _model(self, data: Data) -> Any:
        helper = self._onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(data.x.dtype)
        shapes = [data.x.shape] + [data.weight.shape] * 4
        inputs = [
            helper.make_tensor_value_info(name, kind, shape)
            for name, shape in zip(NAMES, shapes, strict=True)
        ]
        node = helper.make_node("BatchNormalization", NAMES, ["y"], epsilon=EPS)
        output = helper.make_tensor_value_info("y", kind, data.x.shape)
        graph = helper.make_graph([node], "bn", inputs, [output])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=9)

    def arrays(self, op: str, result: Any, data: Data) -> tuple[np.ndarray, ...]:
        return (result,)
