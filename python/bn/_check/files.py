"""Checks of files of states, and of mappings from one state to another."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from bn._check.base import is_half, mapping, printable, state_array
from bn._check.packages import missing_package

READABLE = "a .safetensors, .npz or .weights.h5 file"


def files_package(user: str, package: str) -> None:
    """Check that a package is there which only some kinds of files need."""
    if importlib.util.find_spec(package) is None:
        raise ImportError(missing_package(user, package, "'.[files]' in a checkout of bn"))


def unusable_file(path: object, kind: str, error: object) -> ValueError:
    """The error for a file that is damaged, or is not what its name says."""
    reason = printable(str(error)) or type(error).__name__
    return ValueError(f"{path} is not a usable {kind} file: {reason}")


def other_kind(path: object, kind: str, why: str, line: str) -> ValueError:
    """The error for a file of weights that another program must convert."""
    reason = f" ({why})" if why else ""
    return ValueError(
        f"path must be {READABLE}, got {path}, {kind}{reason}; this line converts it: {line}"
    )


def not_written(path: object, kind: str, writer: str) -> ValueError:
    """The error for a file to write that is of a kind which `save_state` does not write."""
    hint = f", which {writer} writes" if writer else ""
    return ValueError(f"path must be {READABLE}, got {path}, {kind}{hint}")


def unknown_kind(path: object) -> ValueError:
    return ValueError(f"path must be {READABLE}, got {path}")


def content_of_another_kind(path: object, expected: str, found: str) -> ValueError:
    return ValueError(f"{path} must be {expected}, as its name says, got {found}")


def state_to_save(state: object, halves: Collection[str], kind: str) -> dict[str, Any]:
    """Check a state that is to be written; return it as arrays, in its order.

    The `halves` are the dtypes of two bytes that a file of this kind can hold.
    """
    mapping("state", state)
    assert isinstance(state, Mapping)
    found = {}
    for name, value in state.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"every name in state must be a str, got {name!r}")
        array = state_array(name, value)
        if array.dtype.kind not in "fiub" and not is_half(array):
            raise TypeError(f"{name} must hold numbers, got dtype {array.dtype}")
        if is_half(array) and array.dtype.name not in halves:
            raise TypeError(
                f"{name} must not be {array.dtype} in a {kind} file, which cannot hold it: "
                "use .safetensors, or float32"
            )
        if array.dtype.itemsize > 8:
            raise TypeError(f"{name} must have at most 8 bytes a value, got {array.dtype}")
        found[name] = array
    return found


def texts(name: str, value: object) -> dict[str, str]:
    """Check metadata of texts by name; None stands for none."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping of str to str, got {type(value).__name__}")
    for key, text in value.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"{name} must be a mapping of str to str, got {key!r}: {text!r}")
    return dict(value)


def no_metadata(value: object, kind: str) -> None:
    if value:
        raise ValueError(f"metadata must be None for a {kind} file, which has no place for them")


def dtype_in_file(name: str, dtype: np.dtype[Any]) -> None:
    """Check that an array in a file holds numbers."""
    if dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold numbers, got dtype {dtype}")


def size_in_file(needed: int, most: int) -> None:
    """Check what all arrays of a file take in memory, before the first of them is read."""
    if needed > most:
        raise ValueError(f"its arrays must take at most {most} bytes in memory, got {needed}")


def state_names(names: Collection[str], reserved: str | None) -> None:
    if reserved in names:
        raise ValueError(f"state must not have the name {reserved}, which is the metadata's")
