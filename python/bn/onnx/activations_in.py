"""Activations and dropout as layers of `bn.nn`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bn import nn
from bn.onnx.operands import Given
from bn.onnx.readers import reads, with_state

if TYPE_CHECKING:
    from bn.onnx.building import Building

PLAIN = {
    "Relu": nn.ReLU,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "HardSwish": nn.Hardswish,
    "Softplus": nn.Softplus,
}


@reads(*PLAIN)
def plain_activation(building: Building, given: Given) -> None:
    """A layer without arguments."""
    building.call(given, PLAIN[given.operator]())


@reads("LeakyRelu")
def leaky_relu(building: Building, given: Given) -> None:
    """`nn.LeakyReLU`."""
    building.call(given, nn.LeakyReLU(given.attribute("alpha", 0.01)))


@reads("Elu")
def elu(building: Building, given: Given) -> None:
    """`nn.ELU`."""
    building.call(given, nn.ELU(given.attribute("alpha", 1.0)))


@reads("Gelu")
def gelu(building: Building, given: Given) -> None:
    """`nn.GELU`."""
    building.call(given, nn.GELU(given.attribute("approximate", "none")))


@reads("PRelu")
def prelu(building: Building, given: Given) -> None:
    """`nn.PReLU`."""
    slope = given.floats(1)
    behind = slope.ndim - 1 - slope.shape.index(max(slope.shape)) if slope.ndim else 0
    if slope.size != max(slope.shape, default=1) or not slope.size:
        raise ValueError(f"slopes of PRelu must be those of channels, got shape {slope.shape}")
    made = nn.PReLU(slope.size, axis=-1 - behind, dtype=slope.dtype)
    building.call(given, with_state(made, weight=slope.ravel()), *given.names(1))


@reads("Clip")
def clip(building: Building, given: Given) -> None:
    """`nn.ReLU` and `nn.ReLU6`."""
    bounds = given.number(1, -np.inf), given.number(2, np.inf)
    if bounds not in ((0.0, 6.0), (0.0, np.inf)):
        raise ValueError(f"Clip must be from 0 to 6 or from 0 on, got {bounds}")
    building.call(given, nn.ReLU6() if bounds[1] == 6 else nn.ReLU())


@reads("Softmax", "LogSoftmax")
def softmax(building: Building, given: Given) -> None:
    """`nn.Softmax` and `nn.LogSoftmax`."""
    kind = nn.Softmax if given.operator == "Softmax" else nn.LogSoftmax
    building.call(given, kind(given.attribute("axis", -1)))


@reads("Dropout")
def dropout(building: Building, given: Given) -> None:
    """`nn.Dropout`."""
    given.attribute("seed", None)
    ratio = given.number(1, 0.5)
    if given.number(2, 0.0):
        raise ValueError("training_mode of Dropout must be false")
    building.call(given, nn.Dropout(ratio))
