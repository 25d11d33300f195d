"""ONNX Runtime, which folds and fuses when it loads a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networks
import numpy as np
from networks import EPS, Layer, Layers, Network

from predictors import Predictor

OPSET, IR_VERSION = 17, 8


class OnnxRuntime(Predictor):
    name = "ONNX Runtime"

    def __init__(self, threads: int) -> None:
        import onnxruntime

        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession

    def build(self, network: Network, weights: list[np.ndarray]) -> None:
        self._file = Graph(network, iter(weights)).model()
        self.model = self._session(self._file, self._options, ["CPUExecutionProvider"])

    def save(self, folder: Path) -> None:
        (folder / "model.onnx").write_bytes(self._file)

    def load(self, network: Network, folder: Path) -> None:
        file = str(folder / "model.onnx")
        self.model = self._session(file, self._options, ["CPUExecutionProvider"])

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.model.run(None, {"x": images})[0]


class Graph:
    """A network as an ONNX model."""

    def __init__(self, network: Network, weights: Iterator[np.ndarray]) -> None:
        import onnx

        self._onnx, self._weights = onnx, weights
        self._nodes: list[Any] = []
        self._arrays: list[Any] = []
        self._image = network.image
        self._output = self._apply(network.layers, "x")

    def model(self) -> bytes:
        """The file."""
        helper, single = self._onnx.helper, self._onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info("x", single, ["N", *self._image])],
            [helper.make_tensor_value_info(self._output, single, ["N", networks.CLASSES])],
            self._arrays,
        )
        opset = helper.make_opsetid("", OPSET)
        made = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        return made.SerializeToString()

    def _apply(self, layers: Layers, x: str) -> str:
        for layer in layers:
            x = self._one(layer, x)
        return x

    def _node(self, kind: str, *inputs: str, **options: Any) -> str:
        name = f"v{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], **options))
        return name

    def _array(self, array: np.ndarray) -> str:
        name = f"a{len(self._arrays)}"
        self._arrays.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def _one(self, layer: Layer, x: str) -> str:
        match layer:
            case networks.Conv(channels, kernel, stride, depthwise):
                inputs = x, self._array(next(self._weights))
                groups = channels if depthwise else 1
                y = self._node(
                    "Conv", *inputs, group=groups, **_window(kernel, stride, kernel // 2)
                )
            case networks.Norm():
                scale, shift = next(self._weights), next(self._weights)
                arrays = (scale, shift, *networks.statistics(len(scale)))
                y = self._node("BatchNormalization", x, *map(self._array, arrays), epsilon=EPS)
            case networks.Linear():
                arrays = next(self._weights), next(self._weights)
                y = self._node("Gemm", x, *map(self._array, arrays), transB=1)
            case networks.Residual(body, shortcut):
                y = self._node("Add", self._apply(body, x), self._apply(shortcut, x))
            case networks.MaxPool(kernel, stride, padding):
                y = self._node("MaxPool", x, **_window(kernel, stride, padding))
            case networks.Relu():
                y = self._node("Relu", x)
            case networks.GlobalPool():
                y = self._node("GlobalAveragePool", x)
            case networks.Flatten():
                y = self._node("Flatten", x)
        return y


def _window(kernel: int, stride: int, padding: int) -> dict[str, list[int]]:
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}
