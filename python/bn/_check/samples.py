"""Checks of layer, group, instance and RMS normalization. Sentences in quotes are PyTorch's."""

from __future__ import annotations

import math
from typing import Any

from bn._check.base import (
    Array,
    data,
    floating,
    is_integer,
    positive_int,
    shape,
    shape_tuple,
)


def normalized_shape(value: object) -> tuple[int, ...]:
    """Check the lengths of the axes that are normalized; return them as a tuple."""
    sizes = (value,) if is_integer(value) else value
    if not isinstance(sizes, (tuple, list)) or not sizes or not all(map(is_integer, sizes)):
        raise TypeError(f"normalized_shape must be an integer or a tuple of them, got {value!r}")
    for size in sizes:
        positive_int("normalized_shape", size)
    return tuple(int(size) for size in sizes)


def ends_in(x: Array, sizes: tuple[int, ...]) -> None:
    """Check that the last axes of x have these lengths."""
    data_of_any_rank(x)
    if x.shape[x.ndim - len(sizes) :] != sizes or x.ndim < len(sizes):
        expected = ", ".join(map(str, ("*", *sizes)))
        raise ValueError(
            f"Given normalized_shape={list(sizes)}, expected x with shape [{expected}], "
            f"but got x of size {list(x.shape)}"
        )


def data_of_any_rank(x: Any, name: str = "x") -> None:
    """Check a tensor that is to be normalized, which may have a single axis."""
    data(x[None] if getattr(x, "ndim", 0) == 1 else x, 0, name)


def channels_of(x: Any, axis: object, name: str = "x") -> tuple[int, int]:
    """Check samples with channels; return the channel axis, counted from the front, and C."""
    front = data(x, axis, name)
    if front == 0:
        raise ValueError(f"axis must not be 0, that of the samples, got {axis}")
    return front, int(x.shape[front])


def channel_groups(num_groups: object, channels: int, name: str = "num_groups") -> None:
    positive_int(name, num_groups)
    if channels % int(num_groups):  # type: ignore[call-overload]
        raise ValueError(
            f"num_channels must be divisible by {name}, got {channels} channels and "
            f"{name}={num_groups}"
        )


def group_count(name: str, value: object) -> None:
    """Check Keras's number of groups, which may be -1."""
    if not is_integer(value) or value != -1:
        positive_int(name, value)


def enough_in_groups(x: Array, num_groups: int) -> None:
    """Check that a group has more than one value in all samples together."""
    if x.size == num_groups:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {x.shape}"
        )


def enough_places(x: Array, axis: int) -> None:
    """Check that a channel of a sample has more than one value."""
    places = math.prod(n for i, n in enumerate(x.shape) if i not in (0, axis))
    if places == 1 and x.size:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {x.shape}"
        )


def optional_of_shape(name: str, value: object, expected: tuple[int, ...]) -> None:
    """Check a weight or a bias of float32 or float64, which may be None."""
    if value is not None:
        shape(name, floating(name, value), expected)


def shape_ends_in(layer: str, input_shape: object, sizes: tuple[int, ...]) -> None:
    """Check a shape without the batch axis; with it, the last axes must have these lengths."""
    whole = (None, *shape_tuple("input_shape", input_shape))
    if whole[-len(sizes) :] != sizes:
        expected = ", ".join(map(str, ("*", *sizes)))
        raise ValueError(f"input_shape of {layer} must be ({expected}), got {input_shape}")


def axes(name: str, value: object) -> tuple[int, ...]:
    """Check one axis or several; return them as a tuple."""
    found = (value,) if is_integer(value) else value
    if not isinstance(found, (tuple, list)) or not found or not all(map(is_integer, found)):
        raise TypeError(f"{name} must be an integer or a sequence of them, got {value!r}")
    return tuple(int(axis) for axis in found)


def sample_axes(name: str, value: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """Check axes of an array, without that of the samples; return them from the front, sorted."""
    if not all(-ndim <= axis < ndim for axis in value):
        raise ValueError(f"{name} must be between {-ndim} and {ndim - 1}, got {list(value)}")
    front = tuple(sorted(axis % ndim for axis in value))
    if 0 in front or len(set(front)) < len(front):
        raise ValueError(
            f"{name} must be different axes, and not 0, that of the samples, got {list(value)}"
        )
    return front


def axis_lengths(
    layer: str, x_shape: tuple[int, ...], axes: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    if tuple(x_shape[axis] for axis in axes) != expected:
        raise ValueError(f"{layer} takes lengths {expected} on axes {axes}, got shape {x_shape}")


def weight_to_standardize(layer: object, kinds: tuple[type, ...]) -> None:
    """Check a layer whose weight has the outputs on its first axis."""
    if not isinstance(layer, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"layer must be a {names}, got {type(layer).__name__}")
