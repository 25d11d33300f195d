"""Convolutions, linear layers and embeddings as nodes of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bn import nn
from bn.onnx.graph import Graph
from bn.onnx.writers import WRITERS, image_size, on_channels, writes
from bn.types import Shape


@writes(nn.Conv1d, nn.Conv2d)
def convolution(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """Conv."""
    weight = [graph.tensor(p.data) for p in (layer.weight, layer.bias) if p is not None]
    window, axes = layer.window_on(image_size(layer, shape)), 4 - len(layer.kernel_size)
    before, after = window.before[axes - 2 :], window.after[axes - 2 :]

    def write(x: str) -> str:
        return graph.node(
            "Conv",
            [x, *weight],
            kernel_shape=layer.kernel_size,
            strides=layer.stride,
            dilations=layer.dilation,
            group=layer.groups,
            pads=(*before, *after),
        )

    return on_channels(graph, layer.axis, inputs[0], shape, write)


@writes(nn.ConvTranspose2d)
def transposed_convolution(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """ConvTranspose."""
    weight = [graph.tensor(p.data) for p in (layer.weight, layer.bias) if p is not None]

    def write(x: str) -> str:
        return graph.node(
            "ConvTranspose",
            [x, *weight],
            kernel_shape=layer.kernel_size,
            strides=layer.stride,
            dilations=layer.dilation,
            group=layer.groups,
            pads=layer.padding * 2,
            output_padding=layer.output_padding,
        )

    return on_channels(graph, layer.axis, inputs[0], shape, write)


@writes(nn.Linear)
def linear(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """Gemm, or MatMul and Add for more than two axes."""
    weight = graph.tensor(layer.weight.data)
    bias = None if layer.bias is None else graph.tensor(layer.bias.data)
    if len(shape) == 2:
        return graph.node("Gemm", [inputs[0], weight, *([bias] if bias else [])], transB=1)
    y = graph.node("MatMul", [inputs[0], graph.permuted(weight, (1, 0))])
    return y if bias is None else graph.node("Add", [y, bias])


@writes(nn.WeightStandardization)
def standardized(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """The layer inside, with the weight that it computes with."""
    inner = layer.standardized()
    written: str = WRITERS[type(inner)](graph, inner, inputs, shape)
    return written


@writes(nn.Embedding)
def embedding(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """Gather."""
    return graph.node("Gather", [graph.tensor(layer.weight.data), inputs[0]], axis=0)
