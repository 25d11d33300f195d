"""Normalizations as nodes of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bn import layers
from bn.onnx.graph import Graph
from bn.onnx.writers import Unwritable, on_channels, ones_or, writes
from bn.types import Shape

RMS_OPSET = 23  # the first one with RMSNormalization


@writes(
    layers.BatchNorm,
    layers.BatchNorm1d,
    layers.BatchNorm2d,
    layers.BatchNorm3d,
    layers.BatchNormalization,
    layers.PresetBatchNorm,
)
def batch_norm(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """BatchNormalization, with training_mode=1 if the statistics are those of the batch."""
    channels = (layer.num_features,)
    weight, bias = layer.affine_arrays()
    affine = [ones_or(graph, weight, channels), ones_or(graph, bias, channels, 0.0)]
    of_batch = layer.use_batch_stats
    if of_batch is None:
        of_batch = graph.training and layer.train_affine
    if of_batch or layer.running_mean is None:
        return _with_batch_statistics(graph, layer, affine, inputs[0], shape)
    mean, var, eps = layer.normalizing()
    statistics = [graph.tensor(mean), graph.tensor(var)]

    def write(x: str) -> str:
        return graph.node("BatchNormalization", [x, *affine, *statistics], epsilon=eps)

    return on_channels(graph, layer.axis, inputs[0], shape, write)


def _with_batch_statistics(
    graph: Graph, layer: Any, affine: list[str], x: str, shape: Shape
) -> str:
    if layer.corrects or layer.convention.eps_outside_root:
        raise Unwritable("its output in training is no plain normalization")
    channels, kept = (layer.num_features,), 0.0
    if layer.running_mean is not None:
        if layer.momentum is None or layer.start != "plain":
            raise Unwritable("its running statistics must be moving averages")
        kept = 1.0 - layer.convention.share(layer.momentum)
    mean = ones_or(graph, layer.running_mean, channels, 0.0)
    var = ones_or(graph, layer.running_var, channels)

    def write(x: str) -> str:
        y, *new = graph.several(
            "BatchNormalization",
            [x, *affine, mean, var],
            3,
            epsilon=layer.eps,
            momentum=kept,
            training_mode=1,
        )
        # ONNX Runtime takes the statistics of the batch only if these are outputs of the graph.
        for name, value in zip(("running_mean", "running_var"), new, strict=True):
            path = f"{graph.place}.{name}" if graph.place else name
            graph.updated[graph.fresh(f"{path}:new")] = value
        return y

    return on_channels(graph, layer.axis, x, shape, write)


@writes(layers.GhostBatchNorm)
def ghost(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """The layer inside; in training, ONNX has no statistics of parts of a batch."""
    if graph.training:
        raise Unwritable("ONNX has no statistics of parts of a batch")
    written: str = batch_norm(graph, layer.layer, inputs, shape)
    return written


@writes(layers.LayerNorm, layers.LayerNormalization)
def layer_norm(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """LayerNormalization."""
    first = _first_axis(layer, len(shape))
    weight, bias = layer.affine_arrays()
    given = [inputs[0], ones_or(graph, weight, shape[first:])]
    given += [] if bias is None else [graph.tensor(bias)]
    axis = first - len(shape)
    return graph.node("LayerNormalization", given, axis=axis, epsilon=layer.eps)


def _first_axis(layer: Any, ndim: int) -> int:
    """The first of the axes that are normalized, which must be the last ones."""
    if not isinstance(layer, layers.LayerNormalization):
        return ndim - len(layer.normalized_shape)
    axes = sorted(axis % ndim for axis in layer.axis)
    if axes != list(range(axes[0], ndim)):
        raise Unwritable(f"its axes must be the last ones, got {layer.axis}")
    return axes[0]


@writes(layers.RMSNorm)
def rms_norm(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """RMSNormalization, or what it is made of in older opsets."""
    first, x = _first_axis(layer, len(shape)), inputs[0]
    weight, _ = layer.affine_arrays()
    scale = ones_or(graph, weight, shape[first:])
    eps = layer.eps_for(np.zeros(1, np.float32))
    if graph.opset >= RMS_OPSET:
        axis = first - len(shape)
        return graph.node("RMSNormalization", [x, scale], axis=axis, epsilon=eps)
    axes = graph.integers(*range(first, len(shape)))
    mean = graph.node("ReduceMean", [graph.node("Mul", [x, x]), axes])
    root = graph.node("Sqrt", [graph.node("Add", [mean, graph.constant(np.float32(eps))])])
    return graph.node("Mul", [graph.node("Div", [x, root]), scale])


@writes(layers.GroupNorm, layers.GroupNormalization)
def group_norm(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """GroupNormalization."""
    keras = isinstance(layer, layers.GroupNormalization)
    channels = shape[layer.axis % len(shape)]
    groups = layer.groups if keras else layer.num_groups
    weight, bias = layer.affine_arrays()
    affine = [ones_or(graph, weight, (channels,)), ones_or(graph, bias, (channels,), 0.0)]

    def write(x: str) -> str:
        count = channels if groups == -1 else groups
        return graph.node("GroupNormalization", [x, *affine], num_groups=count, epsilon=layer.eps)

    return on_channels(graph, layer.axis, inputs[0], shape, write)


@writes(layers.InstanceNorm1d, layers.InstanceNorm2d, layers.InstanceNorm3d)
def instance_norm(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """InstanceNormalization, or BatchNormalization with running statistics."""
    channels = (layer.num_features,)
    weight, bias = layer.affine_arrays()
    affine = [ones_or(graph, weight, channels), ones_or(graph, bias, channels, 0.0)]
    operator, statistics = "InstanceNormalization", []
    if layer.track_running_stats and not graph.training:
        operator = "BatchNormalization"
        statistics = [graph.tensor(layer.running.mean), graph.tensor(layer.running.var)]

    def write(x: str) -> str:
        return graph.node(operator, [x, *affine, *statistics], epsilon=layer.eps)

    return on_channels(graph, layer.axis, inputs[0], shape, write)
