"""Checks of the options of batch normalization layers, and of what wraps a layer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from bn._check.base import Array, at_least, axis_of, interval, is_integer


def choice(name: str, value: object, known: Collection[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def function(name: str, value: Any) -> None:
    """Check that a value can be called with data; the call of a class would make an object."""
    if isinstance(value, type):
        raise TypeError(
            f"{name} must be a function or an object, got the class {value.__name__}: "
            f"call it, {value.__name__}(...)"
        )
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {type(value).__name__}")


def optional_function(name: str, value: Any) -> None:
    if value is not None:
        function(name, value)


def optional_dict(name: str, value: object) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict, got {value!r}")


def renorm_clipping(clipping: dict[str, float]) -> None:
    known = ("rmin", "rmax", "dmax")
    for name, value in clipping.items():
        if name not in known:
            raise ValueError(f"renorm_clipping must have keys of {', '.join(known)}, got {name!r}")
        at_least(f"renorm_clipping[{name!r}]", value, 0)
    if clipping.get("rmin", 0) > clipping.get("rmax", np.inf):
        raise ValueError(f"rmin must be at most rmax, got {clipping['rmin']} > {clipping['rmax']}")


def start(name: str, value: object) -> None:
    choice(name, value, ("plain", "debiased", "first", "cumulative"))


NONFINITE = ("skip", "raise", "propagate")  # in the core's order


def nonfinite(name: str, value: object) -> None:
    choice(name, value, NONFINITE)


def flag(name: str, value: object) -> None:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def optional_flag(name: str, value: object) -> None:
    if value is not None and not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True, False or None, got {value!r}")


def momentum(name: str, value: object) -> None:
    if value is not None:
        interval(name, value, 0, 1)


def no_correction(user: str, corrects: bool) -> None:
    if corrects:
        raise ValueError(
            f"{user} must get a layer whose output is x̂·weight + bias, got one with batch "
            "renormalization or of the darknet preset"
        )


def no_combine(user: str, combine: object) -> None:
    if combine is not None:
        raise ValueError(
            f"{user} must get a layer without combine or synchronization: a ghost batch is not "
            "shared"
        )


def batch_axis_apart(axis: int) -> None:
    if axis == 0:
        raise ValueError("GhostBatchNorm cuts axis 0, which must not be the channel axis")


def last_axis_layer(axis: object) -> None:
    if axis != -1:
        raise ValueError(f"FeatureAxes needs a layer with axis=-1, got axis={axis}")


def axes_of(axes: Sequence[int], ndim: int) -> tuple[int, ...]:
    front = tuple(axis_of(axis, ndim) for axis in axes)
    if not front or len(set(front)) != len(front) or len(front) == ndim:
        raise ValueError(f"axes must be some of {ndim} axes, each once, got {tuple(axes)}")
    return front


def no_batch_axis(axes: tuple[int, ...]) -> None:
    if 0 in axes:
        raise ValueError(f"axis 0 is the batch axis, whose size input_shape lacks, got axes {axes}")


def enough_merged(count: Array) -> None:
    if count.size and count.max() == 1:
        raise ValueError("Expected more than 1 value per channel when training, got one in all")


def any_batch_norm(user: str, model: str, count: int) -> None:
    if count == 0:
        raise ValueError(
            f"{user} must get a model with batch normalization layers, got a {model} without: "
            "trainable = False freezes the parameters of any layer or model"
        )


def second_order(order: object) -> None:
    if not is_integer(order) or order != 2:
        raise ValueError(f"order must be 2, the highest that there is, got {order!r}")


def finite_channels(bad: Array, dtype: np.dtype[Any]) -> None:
    if bad.any():
        raise ValueError(
            f"the batch must be finite, got inf or NaN in channel {_list(np.flatnonzero(bad))}, "
            f"or values too large for {dtype} statistics"
        )


def nonfinite_skipped(layer: str, channels: Array, dtype: np.dtype[Any]) -> str:
    return (
        f"{layer} got inf or NaN in channel {_list(channels)}, or values too large for {dtype} "
        "statistics; the batch was kept out of their running statistics "
        "(nonfinite='skip'; layer.nonfinite_batches counts them)"
    )


def few_values(layer: str, few: float, limit: int) -> str:
    return (
        f"{layer} trains on {few:g} values in a channel; below {limit} the statistics are mostly "
        "noise: use larger batches, bn.accumulate, batch renormalization, bn.freeze or bn.GroupNorm"
    )


def no_values(layer: str) -> str:
    return (
        f"{layer} trains on a batch of which no value of a channel counts, by its mask, lengths or "
        "sample_weight: the channel is normalized with mean and variance 0, and its running "
        "statistics stay as they are"
    )


def _list(channels: Array) -> str:
    shown = ", ".join(str(c) for c in channels[:5])
    return shown if len(channels) <= 5 else f"{shown} and {len(channels) - 5} more"
