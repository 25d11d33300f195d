"""Activations and dropout as nodes of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bn import nn
from bn.module import Module
from bn.onnx.graph import Graph
from bn.onnx.writers import Unwritable, writes
from bn.types import Shape

FLAT_THRESHOLD = 15.0  # above it, softplus is x to 3e-7
PLAIN: dict[type[Module], str] = {
    nn.ReLU: "Relu",
    nn.Sigmoid: "Sigmoid",
    nn.Tanh: "Tanh",
    nn.Hardswish: "HardSwish",
}


@writes(*PLAIN)
def plain_activation(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """An operator without attributes."""
    return graph.node(PLAIN[type(layer)], inputs)


@writes(nn.ReLU6)
def relu6(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """Clip."""
    bounds = [graph.constant(np.float32(0)), graph.constant(np.float32(6))]
    return graph.node("Clip", [inputs[0], *bounds])


@writes(nn.LeakyReLU)
def leaky_relu(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """LeakyRelu."""
    return graph.node("LeakyRelu", inputs, alpha=layer.negative_slope)


@writes(nn.ELU)
def elu(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """Elu."""
    return graph.node("Elu", inputs, alpha=layer.alpha)


@writes(nn.GELU)
def gelu(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """Gelu."""
    return graph.node("Gelu", inputs, approximate=layer.approximate)


@writes(nn.SiLU)
def silu(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """X times its sigmoid."""
    return graph.node("Mul", [inputs[0], graph.node("Sigmoid", inputs)])


@writes(nn.Softplus)
def softplus(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """Softplus, which has no threshold and no beta."""
    if layer.threshold < FLAT_THRESHOLD:
        raise Unwritable(f"its threshold must be at least {FLAT_THRESHOLD:g}")
    if layer.beta == 1:
        return graph.node("Softplus", inputs)
    beta = graph.constant(np.float32(layer.beta))
    return graph.node("Div", [graph.node("Softplus", [graph.node("Mul", [*inputs, beta])]), beta])


@writes(nn.PReLU)
def prelu(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """PRelu, whose slopes broadcast."""
    slope, behind = graph.tensor(layer.weight.data), len(shape) - 1 - layer.axis % len(shape)
    if layer.num_parameters > 1 and behind:
        slope = graph.node("Reshape", [slope, graph.integers(-1, *[1] * behind)])
    return graph.node("PRelu", [inputs[0], slope])


@writes(nn.Softmax, nn.LogSoftmax)
def softmax(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """Softmax and LogSoftmax."""
    return graph.node(type(layer).__name__, inputs, axis=layer.axis)


@writes(nn.Dropout, nn.Dropout2d)
def dropout(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """Identity: nothing is dropped where a model predicts."""
    return graph.node("Identity", inputs)
