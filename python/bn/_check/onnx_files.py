"""Checks of files of ONNX's models: what can be written, and what can be read."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from bn._check.base import Array, printable
from bn._check.packages import missing_package


def onnx_package(user: str) -> None:
    if importlib.util.find_spec("onnx") is None:
        raise ImportError(missing_package(user, "onnx", "'.[onnx]' in a checkout of bn"))


def not_in_onnx(layer: str, path: str, reason: str) -> TypeError:
    place = f" at {path}" if path else ""
    return TypeError(f"model must be of what ONNX has too, got {layer}{place}: {reason}")


def depends_on_batch(what: str) -> ValueError:
    return ValueError(f"model must do the same for each number of samples, but not so {what}")


def fits_float32(name: str, value: Array) -> Array:
    """An array in float32, in which no finite number may become infinite."""
    if value.dtype.kind in "iu":
        return value.astype(np.int64)
    if value.dtype.kind != "f":
        raise TypeError(f"{name} must hold numbers, got dtype {value.dtype}")
    with np.errstate(over="ignore"):
        found: Array = np.ascontiguousarray(value, np.float32).reshape(value.shape)
    if (np.isinf(found) & np.isfinite(value)).any():
        raise ValueError(f"{name} must hold numbers that fit float32")
    return found


def between(name: str, value: int, first: int, last: int) -> None:
    if not first <= value <= last:
        raise ValueError(f"{name} must be from {first} to {last}, got {value}")


def single_export(model: Any, several: bool) -> None:
    if several:
        name = type(model).__name__
        raise TypeError(f"model must return one array, got {name} (see return_state=False)")


def protobuf_size(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"model must have at most {most} bytes for one file, got {size}")


def unusable_onnx(path: object, error: object) -> ValueError:
    """The error for a file that is no model of ONNX, or none that `bn.nn` can be."""
    reason = printable(str(error)) or type(error).__name__
    return ValueError(f"{path} is not a usable ONNX model: {reason}")
