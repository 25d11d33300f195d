"""Checks of `bn.onnx`: which inputs and attributes each version of ONNX's operator takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bn._check.base import Array, eps, finite, floating, integer, is_half, is_integer, shape
from bn._check.nn import rank_at_least

ONE_DTYPE = {  # for each opset from which it holds: the groups of inputs that share a dtype
    7: (("X", "scale", "B", "input_mean", "input_var"),),
    14: (("X", "scale", "B"), ("input_mean", "input_var")),
    15: (("X",), ("scale", "B"), ("input_mean", "input_var")),
}


def onnx_attributes(
    opset: object, epsilon: object, momentum: object, training_mode: object, spatial: object
) -> None:
    version = integer("opset", opset)
    if not 7 <= version <= 15:
        raise ValueError(
            f"opset must be from 7 to 15 (later ones use the operator of 15), got {version}"
        )
    eps(epsilon, "epsilon")
    finite("momentum", momentum)
    if onnx_flag("training_mode", training_mode) and version < 14:
        raise ValueError(f"training_mode=1 must have an opset of at least 14, got opset {version}")
    if not onnx_flag("spatial", spatial):
        raise ValueError(
            "spatial must be 1, got 0: reshape X to (N, C·D1·...·Dn) and the other inputs to "
            "(C·D1·...·Dn,) for statistics of each element"
        )


def onnx_flag(name: str, value: object) -> bool:
    if not isinstance(value, (bool, int, np.integer, np.bool_)) or value not in (0, 1):
        raise ValueError(f"{name} must be 0 or 1, got {value!r}")
    return bool(value)


def onnx_inputs(inputs: Mapping[str, Any], opset: int) -> None:
    for name, value in inputs.items():
        onnx_tensor(name, value, opset)
    version = max(first for first in ONE_DTYPE if first <= opset)
    for first, *others in ONE_DTYPE[version]:
        for name in others:
            onnx_dtype(name, inputs[name], first, inputs[first], opset)
    x = inputs["X"]
    rank_at_least("X", x, 1)
    channels = 1 if x.ndim == 1 else x.shape[1]
    for name, value in inputs.items():
        if name != "X":
            shape(name, value, (channels,))


def onnx_tensor(name: str, value: object, opset: int) -> None:
    halves = ("float16", "bfloat16") if opset >= 14 else ("float16",)
    if not is_half(value) or value.dtype.name not in halves:
        floating(name, value, f"{', '.join(halves)}, float32 or float64 in opset {opset}")


def onnx_dtype(name: str, a: Array, other_name: str, other: Array, opset: int) -> None:
    if a.dtype != other.dtype:
        raise TypeError(
            f"{name} must be {other.dtype} as {other_name} in opset {opset}, got {a.dtype}"
        )


def onnx_floating(name: str, value: object) -> None:
    """Check a tensor that may have any of the dtypes of ONNX's normalizations."""
    if not is_half(value):
        floating(name, value, "float16, bfloat16, float32 or float64")


def onnx_stash(value: object) -> type:
    """Check ONNX's number of the dtype of statistics; return the dtype."""
    if not is_integer(value) or value not in (1, 11):
        raise ValueError(f"stash_type must be 1 (float32) or 11 (float64), got {value!r}")
    return np.float32 if value == 1 else np.float64


def onnx_broadcast(name: str, value: Any, sizes: tuple[int, ...]) -> Array:
    """Check a tensor that broadcasts to a row; return it so, in float64."""
    onnx_floating(name, value)
    try:
        whole = np.broadcast_to(value, sizes)
    except ValueError:
        raise ValueError(f"{name} must broadcast to {sizes}, got shape {value.shape}") from None
    return np.array(whole, np.float64)


def onnx_group_repeats(opset: object, num_groups: int, channels: int) -> int:
    """Check the opset of a group normalization; return how many channels share a scale."""
    version = integer("opset", opset)
    if not 18 <= version <= 21:
        raise ValueError(
            f"opset must be from 18 to 21 (later ones use the operator of 21), got {version}"
        )
    return channels // num_groups if version < 21 else 1
