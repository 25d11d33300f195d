"""Convolutions, products and tables as layers of `bn.nn`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bn import nn
from bn.module import Module
from bn.onnx.operands import Given, index_on
from bn.onnx.readers import padding_of, plain, reads, same_padding, with_state
from bn.types import Array

if TYPE_CHECKING:
    from bn.onnx.building import Building


@reads("Conv")
def convolution(building: Building, given: Given) -> None:
    """`nn.Conv1d` and `nn.Conv2d`, behind an `nn.ZeroPad2d` if the sides differ."""
    weight, bias = given.floats(1), given.optional(2, 1)
    axes, groups = weight.ndim - 2, given.attribute("group", 1)
    if axes not in (1, 2) or groups < 1:
        raise ValueError(f"Conv must be of signals or images, got a weight of {weight.shape}")
    if given.sizes("kernel_shape", axes, 0) not in ((0,) * axes, weight.shape[2:]):
        raise ValueError("kernel_shape of Conv must be that of its weight")
    strides, dilations = given.sizes("strides", axes, 1), given.sizes("dilations", axes, 1)
    spans = [dilation * (n - 1) for dilation, n in zip(dilations, weight.shape[2:], strict=True)]
    before, after = padding_of(given, axes, spans if strides == (1,) * axes else None)
    x = building.value(given.value(0))
    if axes == 2 and before != after:
        (top, left), (bottom, right) = before, after
        path = building.layer(given, nn.ZeroPad2d((left, right, top, bottom)))
        x, before, after = building.between(path, x), (0, 0), (0, 0)
    kind = nn.Conv1d if axes == 1 else nn.Conv2d
    made = kind(
        weight.shape[1] * groups,
        weight.shape[0],
        plain(weight.shape[2:]),
        plain(strides),
        plain(same_padding(given, before, after)),
        plain(dilations),
        groups,
        bias is not None,
        dtype=weight.dtype,
        rng=0,
    )
    building.call(given, with_state(made, weight=weight, bias=bias), *given.names(1, 2), x=x)


@reads("ConvTranspose")
def transposed_convolution(building: Building, given: Given) -> None:
    """`nn.ConvTranspose2d`."""
    weight, bias = given.floats(1, 4), given.optional(2, 1)
    groups = given.attribute("group", 1)
    if given.sizes("kernel_shape", 2, 0) not in ((0, 0), weight.shape[2:]):
        raise ValueError("kernel_shape of ConvTranspose must be that of its weight")
    made = nn.ConvTranspose2d(
        weight.shape[0],
        weight.shape[1] * groups,
        plain(weight.shape[2:]),
        plain(given.sizes("strides", 2, 1)),
        same_padding(given, *padding_of(given, 2)),
        plain(given.sizes("output_padding", 2, 0)),
        groups,
        bias is not None,
        plain(given.sizes("dilations", 2, 1)),
        dtype=weight.dtype,
        rng=0,
    )
    building.call(given, with_state(made, weight=weight, bias=bias), *given.names(1, 2))


@reads("Gemm")
def product_and_sum(building: Building, given: Given) -> None:
    """`nn.Linear`."""
    given.only("alpha", 1.0)
    given.only("beta", 1.0)
    given.only("transA", 0)
    weight = given.floats(1, 2)
    weight = weight if given.attribute("transB", 0) else weight.T
    bias = given.optional(2)
    if bias is not None:
        bias = np.broadcast_to(bias, (1, weight.shape[0]))[0]
    building.call(given, _linear(weight, bias), *given.names(1, 2))


def _linear(weight: Array, bias: Array | None) -> Module:
    outputs, inputs = weight.shape
    made = nn.Linear(inputs, outputs, bias is not None, dtype=weight.dtype, rng=0)
    return with_state(made, weight=weight, bias=bias)


@reads("MatMul")
def product(building: Building, given: Given) -> None:
    """`nn.Linear`, together with the Add of a bias behind it."""
    weight = given.floats(1, 2).T
    found = building.bias_behind(given.outputs[0], len(weight))
    if found is None:
        building.call(given, _linear(weight, None), *given.names(1))
        return
    name, output = found
    bias = building.constants.take(name)
    building.call(given, _linear(weight, bias), *given.names(1), name, output=output)


@reads("Gather")
def gather(building: Building, given: Given) -> None:
    """`nn.Embedding`, or one item of an axis."""
    axis = given.attribute("axis", 0)
    if not given.is_constant(0):
        index = given.constant(1)
        if index.ndim or index.dtype.kind not in "iu":
            raise ValueError(f"Gather must take one item, got the indices {index.shape}")
        x = building.value(given.value(0))
        building.add(given.outputs[0], "[]", x, index_on({axis: int(index)}))
        return
    table = given.floats(0, 2)
    if axis != 0:
        raise ValueError(f"axis of Gather must be 0, got {axis}")
    made = with_state(nn.Embedding(*table.shape, dtype=table.dtype, rng=0), weight=table)
    ids = building.value(given.value(1))
    building.call(given, made, *given.names(0), x=ids)
