"""Pooling, padding and upsampling as nodes of ONNX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bn import nn
from bn.onnx.graph import Graph
from bn.onnx.writers import Unwritable, image_size, on_channels, writes
from bn.types import Shape


@writes(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)
def pooling(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """MaxPool and AveragePool."""
    size = image_size(layer, shape)
    given = (*layer.steps_on(size), layer.padding_after(size))
    kernel, stride, before, after = (sizes[4 - len(shape) :] for sizes in given)
    more = {"ceil_mode": int(layer.ceil_mode)}
    operator = "MaxPool"
    if isinstance(layer, (nn.AvgPool1d, nn.AvgPool2d)):
        operator = "AveragePool"
        more["count_include_pad"] = int(layer.count_include_pad)

    def write(x: str) -> str:
        return graph.node(
            operator, [x], kernel_shape=kernel, strides=stride, pads=(*before, *after), **more
        )

    return on_channels(graph, layer.axis, inputs[0], shape, write)


REPEATED = {
    "mode": "nearest",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}


@writes(nn.AdaptiveAvgPool2d)
def adaptive_pooling(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """GlobalAveragePool, AveragePool with windows side by side, or Resize to more pixels."""
    size, out = (_height_and_width(layer, s) for s in (shape[1:], layer.output_shape(shape[1:])))
    if all(m % n == 0 for n, m in zip(size, out, strict=True)):
        return _resized(graph, layer, inputs[0], out, REPEATED)
    kernel = tuple(n // m if m and n % m == 0 else 0 for n, m in zip(size, out, strict=True))
    if 0 in kernel:
        raise Unwritable(f"its windows must lie side by side, got {out} of {size} pixels")

    def write(x: str) -> str:
        if out == (1, 1):
            return graph.node("GlobalAveragePool", [x])
        return graph.node("AveragePool", [x], kernel_shape=kernel, strides=kernel)

    return on_channels(graph, layer.axis, inputs[0], shape, write)


def _height_and_width(layer: Any, shape: Shape) -> Shape:
    return shape[1:] if layer.axis == 1 else shape[:2]


@writes(nn.ZeroPad2d)
def zero_padding(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """Pad."""
    left, right, top, bottom = layer.padding
    height = 2 if layer.axis == 1 else 1
    before, after = [0] * 4, [0] * 4
    before[height : height + 2], after[height : height + 2] = (top, left), (bottom, right)
    return graph.node("Pad", [inputs[0], graph.integers(*before, *after)])


@writes(nn.Upsample)
def upsampling(graph: Graph, layer: Any, inputs: Sequence[str], shape: Shape) -> str:
    """Resize."""
    size = _height_and_width(layer, shape[1:])
    out = _height_and_width(layer, layer.output_shape(shape[1:]))
    corners = "align_corners" if layer.align_corners else "half_pixel"
    mode = {"mode": "linear", "coordinate_transformation_mode": corners}
    mode = REPEATED if layer.mode == "nearest" else mode
    given = layer.scale_factor
    if given is None:
        return _resized(graph, layer, inputs[0], out, mode)
    factors = given if isinstance(given, tuple) else (given, given)
    scales = [_scale(n, m, f) for n, m, f in zip(size, out, factors, strict=True)]
    if scales == [m / n for n, m in zip(size, out, strict=True)]:
        return _resized(graph, layer, inputs[0], out, mode)
    whole = graph.constant(np.array([1, 1, *scales], np.float32))

    def write(x: str) -> str:
        return graph.node("Resize", [x, "", whole], **mode)

    return on_channels(graph, layer.axis, inputs[0], shape, write)


def _scale(pixels: int, out: int, factor: float) -> float:
    """The factor along one axis, if ONNX makes as many pixels with it."""
    if out in (pixels, 2 * pixels) and pixels * factor != out:
        raise Unwritable(f"its scale_factor must give whole pixels, got {factor} for {pixels}")
    if math.floor(np.float32(pixels) * np.float32(factor)) != out:
        raise Unwritable(f"float32 has no factor from {pixels} to {out} pixels")
    return factor


def _resized(graph: Graph, layer: Any, x: str, out: Shape, mode: Mapping[str, str]) -> str:
    """Images of another height and width, which may have their channels last."""
    axes = [2, 3] if layer.axis == 1 else [1, 2]
    return graph.node("Resize", [x, "", "", graph.integers(*out)], axes=axes, **mode)
