"""Every check of an argument and every error message of `bn`: what was expected, what came."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
NUMBERS = (int, float, np.integer, np.floating)


def saved(layer: str, value: object) -> None:
    if value is None:
        raise RuntimeError(f"{layer}.backward must follow {layer}'s forward, once for each call")


def state(own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    missing = [n for n in own if n not in given and n.rpartition(".")[2] != "num_batches_tracked"]
    unknown = [n for n in given if n not in own]
    if missing or unknown:
        parts = [f"missing {', '.join(missing)}"] * bool(missing)
        parts += [f"unknown {', '.join(unknown)}"] * bool(unknown)
        raise ValueError(f"the state does not fit the model: {'; '.join(parts)}")
    for name, array in own.items():
        if name in given and given[name].shape != array.shape:
            raise ValueError(f"{name} must have shape {array.shape}, got {given[name].shape}")
        if name in given and given[name].dtype.kind not in "fiu":
            raise TypeError(f"{name} must hold numbers, got dtype {given[name].dtype}")


def floating(name: str, x: object) -> Array:
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {type(x).__name__}")
    if x.dtype not in FLOATS:
        raise TypeError(f"{name} must be float32 or float64, got {x.dtype}")
    return x


def data(x: object, axis: object, name: str = "x") -> int:
    """Check a tensor to be normalized; the channel axis, counted from the front."""
    x = floating(name, x)
    if x.ndim < 2:
        raise ValueError(f"{name} must have at least 2 axes, got shape {x.shape}")
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"axis must be an integer, got {axis!r}")
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis must be between {-x.ndim} and {x.ndim - 1}, got {axis}")
    return int(axis) % x.ndim


def like(name: str, a: object, x: Array, x_name: str = "x") -> Array:
    if not isinstance(a, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, got {type(a).__name__}")
    shape(name, a, x.shape)
    if a.dtype != x.dtype:
        raise TypeError(f"{name} must be {x.dtype}, as {x_name}, got {a.dtype}")
    return a


def out(a: object, x: Array) -> None:
    if a is not None:
        writeable("out", like("out", a, x))


def writeable(name: str, a: Array) -> None:
    if not a.flags.writeable:
        raise ValueError(f"{name} must be writeable, got a read-only array")


def per_channel(name: str, values: object, channels: int) -> Array:
    array = floating(name, values)
    shape(name, array, (channels,))
    return array


def optional_per_channel(name: str, values: object, channels: int) -> None:
    if values is not None:
        per_channel(name, values, channels)


def running(mean: object, var: object, channels: int, *, needed: bool, updated: bool) -> None:
    if (mean is None) != (var is None):
        raise ValueError(
            "running_mean and running_var must either both be None or neither be None, "
            f"got {type(mean).__name__} and {type(var).__name__}"
        )
    if mean is None:
        if needed:
            raise ValueError("running_mean must be defined in evaluation mode, got None")
        return
    for name, values in (("running_mean", mean), ("running_var", var)):
        array = per_channel(name, values, channels)
        if updated:
            writeable(name, array)


def unbatched_channels(input_shape: object, axis: int, expected: int | None = None) -> int:
    """Channels in the shape of one input, without the batch axis."""
    if not isinstance(input_shape, tuple) or not all(isinstance(n, int) for n in input_shape):
        raise TypeError(f"input_shape must be a tuple of integers, got {input_shape!r}")
    whole = (None, *input_shape)
    if not -len(whole) <= axis < len(whole):
        raise ValueError(f"input_shape must have a channel axis {axis}, got {input_shape}")
    channels = whole[axis]
    if channels is None:
        raise ValueError(f"axis {axis} is the batch axis of input_shape {input_shape}")
    if expected is not None and channels != expected:
        raise ValueError(
            f"input_shape must have {expected} channels on axis {axis}, got {input_shape}"
        )
    return int(channels)


def enough_values(x: Array, axis: int) -> None:
    if x.size == x.shape[axis] > 0:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {x.shape}"
        )


def eps(value: object, name: str = "eps") -> None:
    at_least(name, value, 0)


def finite(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, NUMBERS) or not np.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")


def same_type(name: str, values: Sequence[object], types: tuple[type, ...]) -> type:
    kinds = {type(v) for v in values}
    names = " or ".join(t.__name__ for t in types)
    if len(kinds) != 1 or not kinds <= set(types):
        got = ", ".join(sorted(t.__name__ for t in kinds)) or "nothing"
        raise TypeError(f"{name} must be one or more {names}, all of one kind, got {got}")
    return kinds.pop()


def floating_dtype(dtype: object) -> np.dtype[Any]:
    found = np.dtype(dtype)  # type: ignore[call-overload]
    if found not in FLOATS:
        raise TypeError(f"dtype must be float32 or float64, got {found}")
    return cast("np.dtype[Any]", found)


def batch_rank(x: Array, ranks: tuple[int, ...]) -> None:
    if x.ndim not in ranks:
        expected = " or ".join(f"{n}D" for n in ranks)
        raise ValueError(f"expected {expected} input (got {x.ndim}D input)")


def built(layer: str, ready: bool) -> None:
    if not ready:
        raise RuntimeError(
            f"{layer} must be built before its parameters are asked for: "
            "run one batch through the model, or call model.build(input_shape)"
        )


def initializer(name: str, value: object, known: Collection[str]) -> None:
    if not callable(value) and value not in known:
        raise ValueError(f"{name} must be callable or one of {', '.join(known)}, got {value!r}")


def rank(name: str, x: np.ndarray[Any, Any], ndim: int, layout: str) -> None:
    if x.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes ({layout}), got shape {x.shape}")


def size(name: str, x: np.ndarray[Any, Any], axis: int, expected: int) -> None:
    if x.shape[axis] != expected:
        raise ValueError(
            f"{name} must have {expected} channels on axis {axis}, "
            f"got {x.shape[axis]} in shape {x.shape}"
        )


def shape(name: str, x: np.ndarray[Any, Any], expected: tuple[int, ...]) -> None:
    if x.shape != expected:
        raise ValueError(f"{name} must have shape {expected}, got {x.shape}")


def interval(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, NUMBERS) or not low <= value <= high:
        raise ValueError(f"{name} must be between {low:g} and {high:g}, got {value!r}")


def at_least(name: str, value: object, low: float) -> None:
    if isinstance(value, bool) or not isinstance(value, NUMBERS) or not low <= value < np.inf:
        raise ValueError(f"{name} must be a number of at least {low:g}, got {value!r}")


def positive_int(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


# the command: data folders, images, checkpoints


def missing_extra(command: str, package: str) -> str:
    return (
        f"`python -m bn {command}` needs {package}, which is not installed: pip install 'bn[demo]'"
    )


def sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def whole_number(text: str, least: int) -> int:
    if not text.strip().isdecimal() or int(text) < least:
        raise ValueError(f"must be a whole number of at least {least}, got {text!r}")
    return int(text)


def positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"must be a number above 0, got {text!r}")
    return value


def folder(path: Path) -> None:
    if not path.is_dir():
        raise ValueError(f"{path} must be a folder, got {'a file' if path.exists() else 'nothing'}")


def known_files(path: Path, found: Collection[str]) -> None:
    if not found:
        raise ValueError(
            f"{path} must hold CIFAR-10's binary version (data_batch_1.bin, ...) or MNIST's IDX "
            "files (train-images-idx3-ubyte, ...), got neither"
        )


def all_files(path: Path, missing: Collection[str]) -> None:
    if missing:
        raise ValueError(f"{path} must hold {', '.join(sorted(missing))}, got no such file")


def whole_records(path: Path, size: int, record: int) -> None:
    if size == 0 or size % record:
        raise ValueError(f"{path} must hold whole records of {record} bytes, got {size} bytes")


def class_names(path: Path, count: int, expected: int) -> None:
    if count != expected:
        raise ValueError(f"{path} must name {expected} classes, one in each line, got {count}")


def label_range(path: Path, labels: np.ndarray[Any, Any], classes: int) -> None:
    wrong = np.flatnonzero(labels >= classes)
    if wrong.size:
        raise ValueError(
            f"{path} must hold labels from 0 to {classes - 1}, "
            f"got {labels[wrong[0]]} for image {wrong[0]}"
        )


def incomplete_gzip(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} must be a complete gzip file, got one that fails: {error}")


def idx_magic(path: Path, head: bytes, magic: int) -> None:
    if head != magic.to_bytes(4, "big"):
        got = f"0x{head.hex()}" if head else "an empty file"
        raise ValueError(f"{path} must start with the magic number 0x{magic:08x}, got {got}")


def idx_header(path: Path, got: int, expected: int) -> None:
    if got != expected:
        raise ValueError(f"{path} must have a header of {expected} bytes, got {got} bytes")


def idx_body(path: Path, sizes: tuple[int, ...], got: int) -> None:
    expected = math.prod(sizes)
    if got != expected:
        text = " x ".join(map(str, sizes))
        raise ValueError(f"{path} must hold {text} bytes = {expected} after its header, got {got}")


def same_count(images: Path, n_images: int, labels: Path, n_labels: int) -> None:
    if n_images != n_labels:
        raise ValueError(f"{labels} must hold {n_images} labels, as {images} has, got {n_labels}")


def image_count(path: Path, count: int, least: int) -> None:
    if count < least:
        raise ValueError(f"{path} must hold at least {least} images, got {count}")


def image_size(path: Path, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if got != expected:
        raise ValueError(
            f"{path} must hold images of {expected[0]} x {expected[1]} pixels, "
            f"as the training images are, got {got[0]} x {got[1]}"
        )


def smallest_image(name: str, got: tuple[int, ...], least: int) -> None:
    if min(got) < least:
        raise ValueError(
            f"images of {name} must have at least {least} x {least} pixels, got {got[0]} x {got[1]}"
        )


def trained_network(
    path: Path, fields: Mapping[str, Any], models: Collection[str], least: int
) -> None:
    missing = [n for n in ("model", "input_shape", "classes", "mean", "std") if n not in fields]
    if missing:
        raise ValueError(
            f"{path} must be a checkpoint of `python -m bn train`, "
            f"got one without {', '.join(missing)} in its metadata"
        )
    if fields["model"] not in models:
        raise ValueError(f"{path} must hold one of {', '.join(models)}, got {fields['model']!r}")
    shape = fields["input_shape"]
    if not (_all(shape, int) and len(shape) == 3 and shape[0] in {1, 3} and min(shape[1:]) >= least):
        expected = f"(1 or 3, at least {least}, at least {least})"
        raise ValueError(f"{path} must have input_shape {expected}, got {shape}")
    if not (_all(fields["classes"], str) and fields["classes"]):
        raise ValueError(f"{path} must have a list of names as classes, got {fields['classes']}")
    for name in ("mean", "std"):
        if not (_all(fields[name], float) and len(fields[name]) == shape[0]):
            raise ValueError(f"{path} must have {shape[0]} numbers as {name}, got {fields[name]}")


def _all(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(type(value) is kind for value in values)


def unreadable_image(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return sentence(error)
    return f"{path} must be an image that pillow reads, got: {sentence(error)}"


# bn.nn: layers, losses, optimizers, checkpoints


def rng(value: object) -> None:
    seed = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 0
    if not (value is None or seed or isinstance(value, np.random.Generator)):
        raise TypeError(f"rng must be a seed >= 0, a numpy Generator or None, got {value!r}")


def pair(name: str, value: object, low: int) -> tuple[int, int]:
    """`value` as (height, width)."""
    values = value if isinstance(value, (tuple, list)) else (value, value)
    whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in values)
    if len(values) != 2 or not whole or min(values) < low:
        raise ValueError(f"{name} must be an integer >= {low} or a pair of them, got {value!r}")
    return int(values[0]), int(values[1])


def padding(value: object, stride: tuple[int, int]) -> tuple[int, int] | str:
    """`value` as (height, width), or the word itself."""
    if not isinstance(value, str):
        return pair("padding", value, 0)
    if value not in ("same", "valid"):
        raise ValueError(f"padding must be 'same', 'valid' or integers, got {value!r}")
    if value == "same" and stride != (1, 1):
        raise ValueError(f"padding='same' needs stride 1, got stride={stride}")
    return value


def pool_padding(padding: tuple[int, int], kernel: tuple[int, int]) -> None:
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(f"padding must be at most half of kernel_size {kernel}, got {padding}")


def groups(value: int, in_channels: int, out_channels: int) -> None:
    positive_int("groups", value)
    if in_channels % value or out_channels % value:
        raise ValueError(
            f"groups must divide in_channels {in_channels} and out_channels {out_channels}, "
            f"got {value}"
        )


def channel_axis(axis: object) -> None:
    if axis not in (1, -1) or isinstance(axis, bool):
        raise ValueError(f"axis must be 1 (N, C, H, W) or -1 (N, H, W, C), got {axis!r}")


def image_shape(layer: str, shape: tuple[int, ...], axis: int, channels: int | None = None) -> None:
    layout = "(C, H, W)" if axis == 1 else "(H, W, C)"
    if len(shape) != 3:
        raise ValueError(f"{layer} takes inputs of shape {layout}, got {shape}")
    if channels is not None and shape[0 if axis == 1 else 2] != channels:
        raise ValueError(f"{layer} takes {channels} channels in {layout}, got {shape}")


def image(name: str, x: np.ndarray[Any, Any], axis: int, channels: int | None = None) -> None:
    floating(name, x)
    rank(name, x, 4, "N, C, H, W" if axis == 1 else "N, H, W, C")
    if channels is not None:
        size(name, x, axis, channels)


def output_size(layer: str, size: tuple[int, int], out: tuple[int, ...]) -> None:
    if min(out) < 1:
        raise ValueError(f"{layer} would give an output of size {out} from images of {size}")


def last_axis(layer: str, shape: tuple[int, ...], features: int) -> None:
    if not shape or shape[-1] != features:
        raise ValueError(f"{layer} takes {features} features on the last axis, got shape {shape}")


def rank_at_least(name: str, x: np.ndarray[Any, Any], ndim: int) -> None:
    if x.ndim < ndim:
        raise ValueError(f"{name} must have at least {ndim} axes, got shape {x.shape}")


def axis_of(axis: object, ndim: int) -> None:
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"axis must be an integer, got {axis!r}")
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis must be between {-ndim} and {ndim - 1}, got {axis}")


def dy(layer: str, value: np.ndarray[Any, Any], kept: Any) -> None:
    """Compare dy with what forward kept, which starts with the shape and the dtype of y."""
    saved(layer, kept)
    floating("dy", value)
    shape("dy", value, kept[0])
    if value.dtype != kept[1]:
        raise TypeError(f"dy must be {kept[1]} like the output, got {value.dtype}")


def instance(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a bn.{kind.__name__}, got {type(value).__name__}")


def same_shape(one: str, a: tuple[int, ...], other: str, b: tuple[int, ...]) -> None:
    if a != b:
        raise ValueError(f"{one} and {other} must have the same output shape, got {a} and {b}")


def not_empty(name: str, x: np.ndarray[Any, Any]) -> None:
    if x.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {x.shape}")


def target_classes(target: np.ndarray[Any, Any], logits: tuple[int, ...]) -> None:
    expected = (logits[0], *logits[2:])
    if target.dtype.kind not in "iu":
        raise TypeError(f"class indices must be integers, got {target.dtype}")
    shape("target", target, expected)
    low, high = int(target.min()), int(target.max())
    if low < 0 or high >= logits[1]:
        raise ValueError(
            f"class indices must be between 0 and {logits[1] - 1}, got {low if low < 0 else high}"
        )


def all_finite(name: str, x: np.ndarray[Any, Any]) -> None:
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")


def parameters(params: list[Any], kind: type) -> None:
    if not params:
        raise ValueError("an optimizer needs at least one parameter, got none")
    for p in params:
        instance("every parameter", p, kind)
    if len({id(p) for p in params}) != len(params):
        raise ValueError("every parameter must be given once, got one of them twice")


def nesterov(momentum: float, dampening: float) -> None:
    if momentum <= 0 or dampening != 0:
        raise ValueError(
            "nesterov needs a momentum > 0 and no dampening, "
            f"got momentum={momentum}, dampening={dampening}"
        )


def optimizer_state(
    options: tuple[str, ...],
    slots: tuple[str, ...],
    shapes: list[tuple[int, ...]],
    given: Mapping[str, Any],
) -> None:
    """A state against an optimizer's option names, state names and parameter shapes."""
    if set(given) != {"options", "state"} or set(given["options"]) != set(options):
        raise ValueError(f"the state must have the options {', '.join(options)}")
    if len(given["state"]) != len(shapes):
        raise ValueError(
            f"the state must be of {len(shapes)} parameters, got {len(given['state'])}"
        )
    for i, (own, entry) in enumerate(zip(shapes, given["state"], strict=True)):
        if entry and set(entry) != set(slots):
            raise ValueError(
                f"the state of parameter {i} must have {', '.join(slots)}, got {', '.join(entry)}"
            )
        for key, value in entry.items():
            if key != "step" and np.shape(value) != own:
                raise ValueError(
                    f"{key} of parameter {i} must have shape {own}, got {np.shape(value)}"
                )


def metadata(value: object) -> None:
    if value is not None and not isinstance(value, dict):
        raise TypeError(f"metadata must be a dict or None, got {type(value).__name__}")


def checkpoint(path: object, error: object) -> ValueError:
    """The error of a file that is no checkpoint, or not of this model."""
    return ValueError(f"{path} is not a usable checkpoint: {error}")


def integer(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")


def adaptive_size(value: object) -> None:
    if value not in (1, (1, 1)):
        raise ValueError(f"output_size must be 1, the mean of whole images, got {value!r}")


def betas(value: object) -> None:
    if not isinstance(value, tuple) or len(value) != 2 or not all(0 <= b < 1 for b in value):
        raise ValueError(f"betas must be two numbers, at least 0 and less than 1, got {value!r}")
