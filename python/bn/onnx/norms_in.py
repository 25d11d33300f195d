"""Normalizations as layers of `bn`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bn import layers
from bn.onnx.operands import Given
from bn.onnx.readers import reads, with_state
from bn.onnx.sizes_in import STATISTIC
from bn.types import Array

if TYPE_CHECKING:
    from bn.onnx.building import Building


@reads("BatchNormalization")
def batch_norm(building: Building, given: Given) -> None:
    """`bn.preset("onnx")`, in training mode if the node is."""
    scale, bias, mean, var = (given.floats(i, 1) for i in range(1, 5))
    training = bool(given.attribute("training_mode", 0))
    made = layers.preset(
        "onnx",
        len(scale),
        momentum=given.attribute("momentum", 0.9),
        eps=given.attribute("epsilon", 1e-5),
        dtype=scale.dtype,
    )
    with_state(made, weight=scale, bias=bias, running_mean=mean, running_var=var)
    if training:
        given.use_outputs(3)
        building.sizes.note(given.outputs[1:], STATISTIC)
    building.call(given, made, *given.names(1, 2, 3, 4), training=training)


@reads("LayerNormalization")
def layer_norm(building: Building, given: Given) -> None:
    """`bn.LayerNorm`."""
    scale, bias = given.floats(1), given.optional(2)
    eps = _eps_of_last_axes(given, scale)
    made = layers.LayerNorm(scale.shape, eps, bias=bias is not None, dtype=scale.dtype)
    building.call(given, with_state(made, weight=scale, bias=bias), *given.names(1, 2))


@reads("RMSNormalization")
def rms_norm(building: Building, given: Given) -> None:
    """`bn.RMSNorm`."""
    scale = given.floats(1)
    made = layers.RMSNorm(scale.shape, _eps_of_last_axes(given, scale), dtype=scale.dtype)
    building.call(given, with_state(made, weight=scale), *given.names(1))


def _eps_of_last_axes(given: Given, scale: Array) -> float:
    """The epsilon of a normalization over the last axes, which must be those of the scale."""
    axis = given.attribute("axis", -1)
    given.only("stash_type", 1)
    if not scale.ndim or axis != -scale.ndim:
        raise ValueError(
            f"axis of {given.operator} must be {-scale.ndim}, for a scale of {scale.shape}, "
            f"got {axis}"
        )
    eps: float = given.attribute("epsilon", 1e-5)
    return eps


@reads("GroupNormalization")
def group_norm(building: Building, given: Given) -> None:
    """`bn.GroupNorm`."""
    if given.opset < 21:
        raise ValueError("GroupNormalization must be of opset 21 or later")
    given.only("stash_type", 1)
    _group_norm(building, given, given.attribute("num_groups"))


@reads("InstanceNormalization")
def instance_norm(building: Building, given: Given) -> None:
    """`bn.GroupNorm` with a group for each channel, which takes any number of axes."""
    _group_norm(building, given, None)


def _group_norm(building: Building, given: Given, groups: int | None) -> None:
    scale, bias = given.floats(1, 1), given.floats(2, 1)
    eps = given.attribute("epsilon", 1e-5)
    count = len(scale) if groups is None else groups
    made = layers.GroupNorm(count, len(scale), eps, dtype=scale.dtype)
    building.call(given, with_state(made, weight=scale, bias=bias), *given.names(1, 2))
