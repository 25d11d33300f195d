"""Checks of the command: its options, data folders, images and trained networks."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bn._check.base import Array
from bn._check.nn import unusable_checkpoint


def sentence(error: Exception) -> str:
    """The message of an error in one line; the message of a file's error names the file."""
    if isinstance(error, OSError) and error.filename is not None:
        if isinstance(error, FileExistsError):  # of `mkdir`
            return f"{error.filename} must be a folder, but it is a file"
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def whole_number(text: str, least: int, most: int | None = None) -> int:
    """Check the text of an option; return the number."""
    value = int(text) if text.strip().isdecimal() else -1
    if value < least or (most is not None and value > most):
        expected = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"must be a whole number {expected}, got {text!r}")
    return value


def positive_number(text: str) -> float:
    """Check the text of an option; return the number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"must be a number above 0, got {text!r}")
    return value


def existing_folder(path: Path) -> None:
    if not path.is_dir():
        got = "is a file" if path.exists() else "does not exist"
        raise ValueError(f"{path} must be a folder with images, but it {got}")


def known_files(path: Path, found: Collection[str]) -> None:
    if not found:
        raise ValueError(
            f"{path} must hold CIFAR-10's binary version (data_batch_1.bin, ...) or MNIST's IDX "
            "files (train-images-idx3-ubyte, ...), but it has no file with such a name"
        )


def no_file_missing(path: Path, missing: Collection[str]) -> None:
    if missing:
        raise ValueError(f"{path} must also hold {', '.join(sorted(missing))}: not found there")


def whole_records(path: Path, size: int, record: int) -> None:
    if size == 0 or size % record:
        raise ValueError(f"{path} must hold whole records of {record} bytes, got {size} bytes")


def class_count(path: Path, count: int, expected: int) -> None:
    if count != expected:
        raise ValueError(f"{path} must name {expected} classes, one in each line, got {count}")


def label_range(path: Path, labels: Array, classes: int) -> None:
    wrong = np.flatnonzero(labels >= classes)
    if wrong.size:
        raise ValueError(
            f"{path} must hold labels from 0 to {classes - 1}, "
            f"got {labels[wrong[0]]} for image {wrong[0]}"
        )


def incomplete_gzip(path: Path, error: Exception) -> ValueError:
    """The error for a gzip file that cannot be decompressed."""
    return ValueError(f"{path} must be a complete gzip file, got one that fails: {error}")


def idx_magic(path: Path, head: bytes, magic: int) -> None:
    if head != magic.to_bytes(4, "big"):
        got = f"0x{head.hex()}" if head else "an empty file"
        raise ValueError(f"{path} must start with the magic number 0x{magic:08x}, got {got}")


def idx_header(path: Path, got: int, expected: int) -> None:
    if got != expected:
        raise ValueError(f"{path} must have a header of {expected} bytes, got {got} bytes")


def idx_sizes(path: Path, sizes: tuple[int, ...]) -> None:
    if 0 in sizes:
        text = " x ".join(map(str, sizes))
        raise ValueError(f"{path} must have sizes of at least 1 in its header, got {text}")


def idx_body(path: Path, sizes: tuple[int, ...], got: int | str) -> None:
    """Check the number of bytes behind the header, or that there are no others, told in words."""
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


def batch_size(got: int, images: int) -> None:
    if got > images:
        raise ValueError(
            f"--batch-size must be at most {images}, the number of training images, got {got}"
        )


def image_size(path: Path, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if got != expected:
        raise ValueError(
            f"{path} must hold images of {expected[0]} x {expected[1]} pixels, "
            f"as the training images are, got {got[0]} x {got[1]}"
        )


def model_image_size(name: str, got: tuple[int, ...], least: int, most_pixels: int) -> None:
    if min(got) < least:
        raise ValueError(
            f"images of {name} must have at least {least} x {least} pixels, got {got[0]} x {got[1]}"
        )
    if math.prod(got) > most_pixels:
        raise ValueError(
            f"images of {name} must have at most {most_pixels} pixels, got {got[0]} x {got[1]}"
        )


def training_metadata(
    path: Path, fields: Mapping[str, Any], models: Collection[str], least: int, most_pixels: int
) -> None:
    missing = [n for n in ("model", "input_shape", "classes", "mean", "std") if n not in fields]
    if missing:
        raise ValueError(
            f"{path} must be a checkpoint of `bn train`, "
            f"got one without {', '.join(missing)} in its metadata"
        )
    if not isinstance(fields["model"], str) or fields["model"] not in models:
        raise ValueError(f"{path} must hold one of {', '.join(models)}, got {fields['model']!r}")
    shape = fields["input_shape"]
    if not (
        _list_of(shape, int) and len(shape) == 3 and shape[0] in {1, 3} and min(shape[1:]) >= least
    ):
        expected = f"(1 or 3, at least {least}, at least {least})"
        raise ValueError(f"{path} must have input_shape {expected}, got {shape}")
    if shape[1] * shape[2] > most_pixels:
        raise ValueError(
            f"{path} must have an input_shape of at most {most_pixels} pixels, got {shape}"
        )
    if not (_list_of(fields["classes"], str) and fields["classes"]):
        raise ValueError(f"{path} must have a list of names as classes, got {fields['classes']}")
    for name in ("mean", "std"):
        if not (_list_of(fields[name], float) and len(fields[name]) == shape[0]):
            raise ValueError(f"{path} must have {shape[0]} numbers as {name}, got {fields[name]}")
    if not np.isfinite(np.array(fields["mean"], np.float32)).all():
        raise ValueError(f"{path} must have finite numbers as mean, got {fields['mean']}")
    spread = np.array(fields["std"], np.float32)
    if not (np.isfinite(spread) & (spread >= np.finfo(np.float32).tiny)).all():
        raise ValueError(f"{path} must have finite numbers above 0 as std, got {fields['std']}")
    light = fields.get("light")
    if light is not None and not (
        isinstance(light, Mapping)
        and set(light) == {"brightness", "contrast"}
        and all(_list_of(pair, float) and len(pair) == 2 for pair in light.values())
    ):
        raise ValueError(
            f"{path} must have two numbers as brightness and as contrast in light, got {light}"
        )


def force_or_resume(force: bool, resume: bool) -> None:
    if force and resume:
        raise ValueError(
            "--force begins anew and --resume goes on: at most one of them can be given"
        )


def no_results(path: Path, results: Collection[str], unfinished: bool) -> None:
    """Check that a training does not replace what another one has left."""
    if unfinished:
        raise ValueError(
            f"{path} has an unfinished training: go on with it by --resume, begin anew by --force, "
            "or choose another folder by --out"
        )
    if results:
        raise ValueError(
            f"{path} has the results of an earlier training ({', '.join(results)}): "
            "replace them by --force, or choose another folder by --out"
        )


def replaceable_results(paths: Collection[Path]) -> None:
    for path in paths:
        if path.is_dir():
            raise ValueError(f"{path} must be a file, which --force replaces, but it is a folder")


def unfinished_training(path: Path, found: bool) -> None:
    if not found:
        raise ValueError(f"{path} has no unfinished training with which --resume could go on")


def same_options(path: Path, saved: object, given: Mapping[str, Any]) -> None:
    """Check that a training goes on with the options that it began with."""
    if not isinstance(saved, Mapping):
        raise ValueError(f"{path} must hold the options of a training, got {saved!r}")
    for name, value in given.items():
        if saved.get(name) != value:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"{option} must be {_words(saved.get(name))} to go on with the training in {path}, "
                f"got {_words(value)}"
            )


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def norm_in_metadata(path: Path, norm: object, norms: Collection[str]) -> None:
    if not isinstance(norm, str) or norm not in norms:
        raise ValueError(f"{path} must have one of {', '.join(norms)} as norm, got {norm!r}")


def _list_of(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(type(value) is kind for value in values)


def image_mode(path: Path, mode: str) -> None:
    """Check pillow's mode of an image; I and F do not define which values are black and white."""
    if mode in {"I", "F"}:
        raise ValueError(f"{path} must have 8 or 16 bits per channel, got pillow's mode {mode}")


def saved_shapes(
    path: Path, got: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Check shapes of a file's arrays against those that its metadata imply."""
    for name, shape in expected.items():
        if name not in got:
            raise unusable_checkpoint(path, f"missing {name}")
        if got[name] != shape:
            reason = f"{name} must have shape {shape}, as its metadata say, got {got[name]}"
            raise unusable_checkpoint(path, reason)


def usable_weights(path: Path, network: Mapping[str, Array]) -> None:
    negative = [
        n for n, a in network.items() if n.endswith(("_var", "_variance")) and (a < 0).any()
    ]
    if negative:
        raise ValueError(f"{path} must hold variances of at least 0, got less in {negative[0]}")
    wrong = [name for name, array in network.items() if not np.isfinite(array).all()]
    if wrong:
        raise ValueError(
            f"{path} must hold a network of finite numbers, got NaN or infinity in {wrong[0]} "
            "(its training diverged)"
        )


def unreadable_image(path: Path, error: Exception) -> str:
    """The message for an image that pillow cannot read."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return sentence(error)
    return f"{path} must be an image that pillow reads, got: {sentence(error)}"
