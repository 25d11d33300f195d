"""Checks of `bn.nn`: layers, losses, optimizers, checkpoints."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bn._check.base import (
    Array,
    array,
    channel_count,
    floating,
    is_half,
    is_integer,
    kind_of,
    like,
    no_larger,
    plain_array,
    positive_int,
    printable,
    shape,
)
from bn._check.images import padding_word

SUM_TOLERANCE = 0.01  # of probabilities; theirs in float32 is far less, that of logits far more


def rng(value: object) -> None:
    seed = is_integer(value) and value >= 0
    if not (value is None or seed or isinstance(value, np.random.Generator)):
        raise TypeError(f"rng must be a seed >= 0, a numpy Generator or None, got {value!r}")


def pair(name: str, value: object, low: int) -> tuple[int, int]:
    """Check an integer or a pair of them; return the pair (height, width)."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(map(is_integer, values)) or min(values) < low:
        raise ValueError(f"{name} must be an integer >= {low} or a pair of them, got {value!r}")
    no_larger(name, max(values))
    return int(values[0]), int(values[1])


def padding(value: object, stride: tuple[int, int]) -> tuple[int, int] | str:
    """Check a padding; return it as (height, width), or as the word that it is."""
    return padding_word(value, stride) if isinstance(value, str) else pair("padding", value, 0)


def pool_padding(padding: tuple[int, int], kernel: tuple[int, int]) -> None:
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(f"padding must be at most half of kernel_size {kernel}, got {padding}")


def pool_pixels(height: int, width: int) -> None:
    if height * width >= 2**31:
        raise ValueError(
            "MaxPool2d with a kernel of more than 256 pixels takes images of less than 2**31 "
            f"pixels, got {height} x {width}"
        )


def groups(value: int, in_channels: int | None, out_channels: int) -> None:
    positive_int("groups", value)
    if (in_channels or 0) % value or out_channels % value:
        raise ValueError(
            f"groups must divide in_channels {in_channels} and out_channels {out_channels}, "
            f"got {value}"
        )


def channel_axis(axis: object) -> None:
    if not is_integer(axis) or axis not in (1, -1):
        raise ValueError(f"axis must be 1 (N, C, H, W) or -1 (N, H, W, C), got {axis!r}")


def image_shape(layer: str, shape: tuple[int, ...], axis: int, channels: int | None = None) -> None:
    layout = "(C, H, W)" if axis == 1 else "(H, W, C)"
    if not isinstance(shape, (tuple, list)) or len(shape) != 3:
        raise ValueError(f"{layer} takes inputs of shape {layout}, got {shape}")
    if channels is not None and shape[0 if axis == 1 else 2] != channels:
        raise ValueError(f"{layer} takes {channels} channels in {layout}, got {shape}")


def images(layer: str, x: Array, axis: int, channels: int | None = None) -> None:
    floating(f"x of {layer}", x)
    if x.ndim != 4:
        layout = "(N, C, H, W)" if axis == 1 else "(N, H, W, C)"
        raise ValueError(f"{layer} takes images of shape {layout}, got shape {x.shape}")
    if channels is not None:
        channel_count(layer, x, axis, channels)


def pixels_at_least(layer: str, size: tuple[int, int], smallest: tuple[int, int]) -> None:
    if size[0] < smallest[0] or size[1] < smallest[1]:
        raise ValueError(f"{layer} takes images of at least {smallest} pixels, got {size}")


def feature_count(layer: str, shape: tuple[int, ...], features: int | None) -> None:
    if not isinstance(shape, (tuple, list)) or not shape or shape[-1] != (features or shape[-1]):
        number = "" if features is None else f"{features} "
        raise ValueError(f"{layer} takes {number}features on the last axis, got shape {shape}")


def has_axis(layer: str, axis: int, shape: Sequence[int | None]) -> int:
    """Check that inputs of this shape have this axis; return it, counted from the front."""
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"{layer} takes inputs with an axis {axis}, got shape {shape}")
    return axis % len(shape)


def rank_at_least(name: str, x: Array, ndim: int) -> None:
    if x.ndim < ndim:
        raise ValueError(f"{name} must have at least {ndim} axes, got shape {x.shape}")


def instance(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        expected = _way_between(value, kind) or f"{kind.__name__}, got {kind_of(value)}"
        raise TypeError(f"{name} must be of type {expected}")


def _way_between(value: object, kind: type) -> str:
    """What to do with a model of PyTorch where one of `bn` belongs, or the other way round.

    Types of both have the same names, so that the words tell whose they are.
    """
    got, owners = type(value).__name__, (_owner(kind), _owner(type(value)))
    if owners == ("bn", "torch"):
        return f"bn.{kind.__name__}, got {got} of PyTorch: bn.torch.to_bn converts it"
    if owners == ("torch", "bn"):
        return f"torch.nn.{kind.__name__}, got {got} of bn: bn.torch.from_bn converts it"
    return ""


def _owner(kind: type) -> str:
    """Whose modules a class belongs to; with PyTorch as its backend, Keras's are none of these."""
    names = {f"{each.__module__}.{each.__name__}" for each in kind.__mro__}
    if "bn.module.Module" in names:
        return "bn"
    is_torchs = "torch.nn.modules.module.Module" in names
    return "torch" if is_torchs and not any(name.startswith("keras.") for name in names) else ""


def same_output_shape(layer: str, body: tuple[int, ...], shortcut: tuple[int, ...]) -> None:
    if body != shortcut:
        raise ValueError(
            f"{layer} takes a body and a shortcut of the same output shape, "
            f"got {body} and {shortcut}"
        )


def not_empty(name: str, x: Array) -> None:
    if x.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {x.shape}")


def numeric(name: str, x: Array) -> Array:
    if x.dtype.kind not in "biuf" and not is_half(x):
        raise TypeError(f"{name} must hold numbers, got dtype {x.dtype}")
    return x


def class_indices(target: Array, logits: tuple[int, ...], ignore_index: int) -> None:
    if target.dtype.kind not in "iu":
        raise TypeError(f"class indices must be integers, got {target.dtype}")
    shape("target", target, (logits[0], *logits[2:]))
    counted = target[target != ignore_index]
    low, high = int(counted.min(initial=0)), int(counted.max(initial=0))
    if low < 0 or high >= logits[1]:
        raise ValueError(
            f"class indices must be between 0 and {logits[1] - 1}, got {low if low < 0 else high}"
        )


def ignores_no_probabilities(ignore_index: int) -> None:
    """Check that no class is to be ignored where targets are probabilities, as PyTorch does."""
    if ignore_index >= 0:
        raise ValueError(
            f"ignore_index must be negative for a target of probabilities, got {ignore_index}"
        )


def weights(name: str, value: Any) -> Array:
    """Check finite weights of at least 0; return them as an array."""
    found = numeric(name, array(name, value))
    all_finite(name, found)
    not_negative(name, found)
    return found


def optional_weights(name: str, value: Any) -> Array | None:
    """Check weights that may be None; return a copy, which the caller cannot change."""
    return None if value is None else weights(name, value).copy()


def position_weights(name: str, value: Any, logits: tuple[int, ...]) -> Array:
    """Check weights of samples (N,) or of their positions (N, ...); return them as (N, 1, ...)."""
    found, expected = weights(name, value), (logits[0], *logits[2:])
    if found.shape == expected[:1]:
        return found.reshape(-1, *[1] * (len(logits) - 1))
    shape(name, found, expected)
    return found[:, None]


def value_weights(name: str, value: Any, expected: tuple[int, ...]) -> Array:
    """Check weights of samples (N,) or of all values; return them for each value."""
    found = weights(name, value)
    if found.shape == expected[:1]:
        found = found.reshape(-1, *[1] * (len(expected) - 1))
    else:
        shape(name, found, expected)
    return np.broadcast_to(found, expected)


def broadcasts(name: str, value: Array, expected: tuple[int, ...]) -> None:
    """Check that an array can be repeated along axes until it has this shape."""
    pairs = zip(value.shape[::-1], expected[::-1], strict=False)
    if value.ndim > len(expected) or any(n not in (1, size) for n, size in pairs):
        raise ValueError(f"{name} must broadcast to shape {expected}, got {value.shape}")


def regular_file(path: str | os.PathLike[str]) -> None:
    """Check that no device is overwritten, and that no pipe is waited for.

    For a folder, and for no file, the operating system raises an error.
    """
    target = Path(path)
    if target.exists() and not target.is_file() and not target.is_dir():
        raise ValueError(f"{path} must be a file, got a device, a pipe or a socket")


def not_negative(name: str, x: Array) -> None:
    if (x < 0).any():
        raise ValueError(f"{name} must not be negative, got {x.min()}")


def all_finite(name: str, x: Array) -> None:
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")


def shares(name: str, x: Array) -> None:
    low, high = x.min(), x.max()
    if not 0 <= low <= high <= 1:  # NaN compares as False
        raise ValueError(f"{name} must be between 0 and 1, got {low:g} to {high:g}")


def probabilities(name: str, values: Array, sums: Array, counted: Array) -> None:
    """Check that values are probabilities, whose sums over the classes are given, where they count.

    NaN is let through: it becomes a loss that is NaN, whose cause `fit` looks for.
    """
    wrong = (abs(sums - 1) > SUM_TOLERANCE) | (values.min(axis=1, keepdims=True) < 0)
    if wrong.any() and (wrong := wrong & counted.any(axis=1, keepdims=True)).any():
        raise ValueError(
            f"{name} must be probabilities with from_logits=False, at least 0 and with a sum of 1, "
            f"got numbers from {values.min():g} and a sum of {sums[wrong][0]:g}"
        )


def parameters(params: list[Any], kind: type, owner: str = "an optimizer") -> None:
    if not params:
        raise ValueError(f"{owner} needs at least one parameter, got none")
    for p in params:
        instance("every parameter", p, kind)
    if len({id(p) for p in params}) != len(params):
        raise ValueError("every parameter must be given once, got one of them twice")


def gradients(params: list[Any]) -> None:
    for i, p in enumerate(params):
        if p.grad is not None:
            floating(f"parameter {i}", p.data)
            like(f"the gradient of parameter {i}", p.grad, p.data, "the parameter")


def whole_count(name: str, value: object) -> None:
    count = np.asarray(value)
    if count.shape != () or count.dtype.kind not in "iu" or count < 0:
        raise ValueError(f"{name} must be a whole number of at least 0, got {value!r}")


def metadata(value: object) -> None:
    if value is not None and not isinstance(value, dict):
        raise TypeError(f"metadata must be a dict or None, got {type(value).__name__}")


def metadata_size(got: int, most: int) -> None:
    if got > most:
        raise ValueError(f"metadata must have at most {most} bytes, got {got}")


def metadata_array(shape: tuple[int, ...], dtype: np.dtype[Any], most: int) -> None:
    """Check that an array in a file is a text of at most so many bytes."""
    if shape != () or dtype.kind != "U":
        raise ValueError(f"metadata must be one text, got shape {shape} and dtype {dtype}")
    metadata_size(dtype.itemsize, most)


def unusable_checkpoint(path: object, error: object) -> ValueError:
    """The error for a file that is no checkpoint, or not one of this model."""
    reason = printable(str(error)) or type(error).__name__
    return ValueError(f"{path} is not a usable checkpoint: {reason}")


def no_name_in_nn(name: str, elsewhere: Collection[str]) -> AttributeError:
    """The error for a name that `bn.nn` has not; the layers of normalization are in `bn`."""
    hint = f": see bn.{name}" * (name in elsewhere)
    return AttributeError(f"module 'bn.nn' has no attribute {name!r}{hint}")


def no_module(name: str, value: object, kind: type) -> None:
    if isinstance(value, kind):
        raise TypeError(
            f"{name} must be parameters, got a {type(value).__name__}: use model.parameters()"
        )


def float64(name: str, value: object) -> None:
    dtype = plain_array(name, value).dtype
    if dtype != np.float64:
        raise TypeError(
            f"{name} must be float64, in which differences are exact enough, got {dtype}"
        )


def same_output(layer: str, y: Array, again: Array) -> None:
    """Check that a second call gave what the first one did."""
    if not np.allclose(y, again, equal_nan=True):
        raise ValueError(
            f"{layer} must give the same output for the same x each time, got two that differ by "
            f"up to {abs(y - again).max():.3g}"
        )


def parameter(name: str, value: object, kind: type) -> None:
    if value is not None and not isinstance(value, kind):
        raise TypeError(
            f"{name} must be a Parameter or None, got {type(value).__name__} "
            "(its values are set by layer.weight[...] = array)"
        )


# ---- embeddings and recurrent layers ----


def padding_idx(value: object, count: int) -> int | None:
    """Check the number of a row; return it, counted from the front."""
    if value is None:
        return None
    if not is_integer(value) or not -count <= value < count:
        raise ValueError(
            f"padding_idx must be None or between {-count} and {count - 1}, got {value!r}"
        )
    return int(value) % count


def row_numbers(name: str, x: object, count: int) -> None:
    x = plain_array(name, x)
    if x.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got {x.dtype}")
    if x.size and not 0 <= int(x.min()) <= int(x.max()) < count:
        raise ValueError(
            f"{name} must be between 0 and {count - 1}, got {int(x.min())} to {int(x.max())}"
        )


def sequences(layer: str, x: Array, batch_first: bool, features: int) -> None:
    layout = f"(N, T, {features})" if batch_first else f"(T, N, {features})"
    if x.ndim != 3 or x.shape[2] != features:
        raise ValueError(f"{layer} takes sequences of shape {layout}, got shape {x.shape}")


def sequence_shape(layer: str, shape: tuple[int, ...], features: int) -> None:
    if not isinstance(shape, (tuple, list)) or len(shape) != 2 or shape[1] != features:
        raise ValueError(
            f"{layer} takes sequences of {features} features, inputs of shape (T, {features}), "
            f"or (N, {features}) without batch_first, got {shape}"
        )


def nonlinearity(value: object) -> None:
    if not isinstance(value, str) or value not in ("tanh", "relu"):
        raise ValueError(f"nonlinearity must be 'tanh' or 'relu', got {value!r}")


def state_count(layer: str, got: int, expected: int) -> None:
    if got != expected:
        what = "one array" if expected == 1 else "a pair (h_0, c_0)"
        came = "one value" if got == 1 else f"{got} values"
        raise ValueError(f"hx of {layer} must be {what}, got {came}")


def initial_state(name: str, state: object, expected: tuple[int, ...], dtype: Any) -> None:
    array = floating(name, state)
    shape(name, array, expected)
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {dtype}, as x, got {array.dtype}")


def dstate_count(layer: str, got: int, most: int) -> None:
    if got > most:
        raise ValueError(
            f"dy of {layer} must have the gradients of {most} states at most, got {got}"
        )
