"""Pooling, padding and resizing as layers of `bn.nn`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bn import nn
from bn.onnx.operands import Given
from bn.onnx.readers import padding_of, plain, reads, same_padding

if TYPE_CHECKING:
    from bn.onnx.building import Building


@reads("MaxPool", "AveragePool")
def pooling(building: Building, given: Given) -> None:
    """`nn.MaxPool2d`, `nn.AvgPool2d`, and those of signals."""
    kernel = given.attribute("kernel_shape")
    axes = len(kernel)
    if axes not in (1, 2):
        raise ValueError(f"{given.operator} must be of signals or images, got {axes} axes")
    given.only("dilations", [1] * axes)
    arguments: dict[str, Any] = {
        "kernel_size": plain(tuple(kernel)),
        "stride": plain(given.sizes("strides", axes, 1)),
        "padding": plain(same_padding(given, *padding_of(given, axes))),
        "ceil_mode": bool(given.attribute("ceil_mode", 0)),
    }
    if given.operator == "AveragePool":
        arguments["count_include_pad"] = bool(given.attribute("count_include_pad", 0))
        building.call(given, (nn.AvgPool1d, nn.AvgPool2d)[axes - 1](**arguments))
    else:
        given.only("storage_order", 0)
        building.call(given, (nn.MaxPool1d, nn.MaxPool2d)[axes - 1](**arguments))


@reads("GlobalAveragePool")
def global_pooling(building: Building, given: Given) -> None:
    """`nn.AdaptiveAvgPool2d`."""
    building.call(given, nn.AdaptiveAvgPool2d(1))


@reads("Pad")
def padding(building: Building, given: Given) -> None:
    """`nn.ZeroPad2d`."""
    given.only("mode", "constant")
    sides, value = given.integers(1), given.number(2, 0.0)
    if value != 0 or len(sides) != 8:
        raise ValueError(f"Pad must put zeros around images, got {value} and pads {sides}")
    before, after = sides[:4], sides[4:]
    first = 2 if not any((before[1], after[1])) else 1
    kept = {0, 1, 2, 3} - {first, first + 1}
    if any(before[i] or after[i] for i in kept):
        raise ValueError(f"pads of Pad must leave samples and channels alone, got {sides}")
    four = before[first + 1], after[first + 1], before[first], after[first]
    building.call(given, nn.ZeroPad2d(four, axis=1 if first == 2 else -1))


@reads("Resize")
def resizing(building: Building, given: Given) -> None:
    """`nn.Upsample`."""
    mode, corners = _resize_mode(given)
    given.optional(1)
    scales = given.optional(2)
    kept = building.sizes.kept(given.name(3), given.name(0))
    sizes = given.optional(3) if kept is None else np.array(kept)
    axes = given.attribute("axes", None)
    if axes not in (None, [2, 3], [1, 2]):
        raise ValueError(f"axes of Resize must be those of images, got {axes}")
    axis = -1 if axes == [1, 2] else 1
    first = 0 if axes else 2  # before these are the samples and the channels
    if (scales is None or not scales.size) and sizes is not None and sizes.shape == (2 + first,):
        made = nn.Upsample(plain([int(n) for n in sizes[first:]]), None, mode, corners, axis=axis)
    elif scales is not None and scales.shape == (2 + first,) and (scales[:first] == 1).all():
        made = nn.Upsample(
            None, plain([float(n) for n in scales[first:]]), mode, corners, axis=axis
        )
    else:
        raise ValueError("Resize must have scales or sizes of images")
    building.call(given, made)


def _resize_mode(given: Given) -> tuple[str, bool | None]:
    """The mode of an `nn.Upsample`, and whether corners are aligned."""
    for name, default in {
        "antialias": 0, "exclude_outside": 0, "keep_aspect_ratio_policy": "stretch",
    }.items():  # fmt: skip
        given.only(name, default)
    given.attribute("cubic_coeff_a", None), given.attribute("extrapolation_value", None)
    mode = given.attribute("mode", "nearest")
    way = given.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = given.attribute("nearest_mode", "round_prefer_floor")
    if (mode, way, rounding) == ("nearest", "asymmetric", "floor"):
        return "nearest", None
    if mode == "linear" and way in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return "bilinear", way == "align_corners"
    raise ValueError(f"Resize must be one of nn.Upsample's modes, got {mode}, {way}, {rounding}")
