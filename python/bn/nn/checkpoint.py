"""Checkpoints: a model's state in a NumPy .npz file."""

from __future__ import annotations

import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bn import _check
from bn._module import Array, Module

Model = TypeVar("Model", bound=Module)

METADATA = "__metadata__"
UNREADABLE = (OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError)
DAMAGED = (zipfile.BadZipFile, zlib.error, *UNREADABLE)


def save(
    path: str | os.PathLike[str], model: Module, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a model's state to a file.

    A temporary file in the same folder is written, flushed to the disk and renamed, so that after
    a crash at any moment `path` is either the old checkpoint or the new one, whole.

    Parameters
    ----------
    path : path-like
        Taken as it is; no ending is added.
    model : Module
    metadata : dict, optional
        Anything that JSON can write, kept beside the state.

    Raises
    ------
    TypeError
        `metadata` is not a dict, or holds what JSON cannot write.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from bn import nn
    >>> model = nn.Linear(2, 2, rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/model.npz", model, {"epochs": 3})
    ...     print(metadata(folder + "/model.npz"), load(folder + "/model.npz", nn.Linear(2, 2)))
    {'epochs': 3} Linear(in_features=2, out_features=2, bias=True)
    """
    _check.metadata(metadata)
    arrays = dict(model.named_state())
    text = np.array(json.dumps(metadata or {}))
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            np.savez(file, **arrays, **{METADATA: text})  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | os.PathLike[str], model: Model) -> Model:
    """Read a model's state from a file that `save` wrote, or raise and change nothing.

    Parameters
    ----------
    path : path-like
    model : Module
        Of the structure that was saved; what is built lazily must be built.

    Returns
    -------
    Module
        The model itself.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged, is something else, or belongs to another model.

    Examples
    --------
    >>> import tempfile
    >>> from bn import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/model.npz", nn.Linear(2, 2))
    ...     load(folder + "/model.npz", nn.Linear(3, 2))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: ...
    """
    arrays = _read(path)
    arrays.pop(METADATA, None)
    try:
        return model.load_state_dict(arrays)
    except (TypeError, ValueError) as error:
        raise _check.checkpoint(path, error) from error


def metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The metadata that `save` put into a file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict
        Empty if none was given.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged or is something else.

    Examples
    --------
    >>> import tempfile
    >>> from bn import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/model.npz", nn.ReLU(), {"classes": ["cat", "dog"]})
    ...     metadata(folder + "/model.npz")
    {'classes': ['cat', 'dog']}
    """
    arrays = _read(path, only=METADATA)
    try:
        fields = json.loads(str(arrays.get(METADATA, "{}")))
        _check.metadata(fields)
    except (TypeError, ValueError) as error:
        raise _check.checkpoint(path, f"its metadata cannot be read: {error}") from error
    return dict(fields)


def _read(path: str | os.PathLike[str], only: str | None = None) -> dict[str, Array]:
    """The arrays of a file (or the one of that name, if it is there)."""
    try:
        with Path(path).open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is damaged, or not a .npz file")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                names = [n for n in arrays.files if only in (None, n)]
                return {name: arrays[name] for name in names}
    except FileNotFoundError:
        raise
    except DAMAGED as error:
        raise _check.checkpoint(path, error) from error
