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
