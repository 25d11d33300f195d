"""Checks of `bn.tools.recalibration` and `bn.tools.report`."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np

from bn._check.arrays import is_foreign
from bn._check.base import Array
from bn._check.packages import missing_package
from bn._check.training import inputs


def batch_source(value: object) -> None:
    if isinstance(value, np.ndarray) or is_foreign(value):
        raise TypeError(
            "batches must be an iterable of batches, got one array: write [x], or split it"
        )
    if not hasattr(value, "__iter__") and not hasattr(value, "__getitem__"):
        raise TypeError(f"batches must be an iterable of batches, got {type(value).__name__}")


def batch_input(batch: Any) -> Any:
    """Check a batch; return its x, which is the batch itself or its first item."""
    if not isinstance(batch, (tuple, list)):
        return batch if not isinstance(batch, Mapping) else inputs("x", batch)
    if not batch:
        raise ValueError(f"a batch must be x, or (x, ...), got an empty {type(batch).__name__}")
    return batch[0] if not isinstance(batch[0], (tuple, Mapping)) else inputs("x", batch[0])


def some_batches(count: int) -> None:
    if count == 0:
        raise ValueError(
            "batches must have at least one batch, got none (was the generator used up before?)"
        )


def progress(value: Any) -> None:
    if value is not None and not isinstance(value, bool) and not callable(value):
        raise TypeError(f"progress must be True, False, None or callable, got {value!r}")


def finite_statistics(layer: str, mean: Array, var: Array) -> None:
    wrong = ~(np.isfinite(mean) & np.isfinite(var))
    if wrong.any():
        raise ValueError(
            f"the statistics of {layer}'s input must be finite and fit {mean.dtype}, "
            f"got NaN or infinity in {wrong.sum()} of {wrong.size} channels"
        )


def optional_package(what: str, package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ImportError(missing_package(what, package))


def some_layer_ran(layers: int, seen: int) -> None:
    if layers > 0 and seen == 0:
        raise ValueError(
            f"recalibrate must see one of {layers} layers run, got none: are they used, and in the "
            "thread that called it?"
        )


# ---- adaptation ----


def read_again(name: str, value: object) -> None:
    if iter(value) is value:  # type: ignore[call-overload]
        raise TypeError(
            f"{name} must be a list or a loader, which can be read twice, got an iterator: "
            f"write list({name})"
        )


def some_affine(count: int) -> None:
    if count == 0:
        raise ValueError(
            "method 'tent' must have weights and biases of batch normalizations to train, got none"
        )


def scores(value: object) -> None:
    """Check what a model returned as scores of classes."""
    if not isinstance(value, np.ndarray) or value.ndim != 2 or 0 in value.shape:
        got = getattr(value, "shape", type(value).__name__)
        raise ValueError(f"the model's outputs must have shape (N, C) for 'tent', got {got}")
    if not np.isfinite(value).all():
        raise ValueError("the model's outputs must be finite for 'tent', got NaN or infinity")
