"""Checkpoints: saving and loading a model's state as a NumPy .npz file."""

from __future__ import annotations

import json
import os
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from bn import _check
from bn.module import Module
from bn.types import Array

Model = TypeVar("Model", bound=Module)

METADATA = "__metadata__"


def save(
    path: str | os.PathLike[str], model: Module, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a model's state to a file.

    The state is written to a temporary file in the same folder, which is flushed to the disk and
    then renamed. After a crash at any moment `path` is therefore either the complete old checkpoint
    or the complete new one.

    Parameters
    ----------
    path : path-like
        The file; no ending is added to its name. If it is a symbolic link, the file it points to
        is written.
    model : Module
    metadata : dict, optional
        Anything that JSON can represent; `metadata` reads it back.

    Raises
    ------
    TypeError
        `model` is not a Module, `metadata` is not a dict, or JSON cannot represent it.
    ValueError
        `path` is a device, a pipe or a socket.
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
    _check.instance("model", model, Module)
    _check.metadata(metadata)
    text = np.array(json.dumps(metadata or {}))
    target = Path(path).resolve()
    _check.regular_file(path, target)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            _write(file, {**dict(model.named_state()), METADATA: text})
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        if error.filename is None:
            raise
        raise OSError(
            error.errno, error.strerror, str(path)
        ) from error  # name path, not the temporary file
    finally:
        temporary.unlink(missing_ok=True)


def _write(file: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write a .npz file; np.savez cannot write arrays that are named like its own arguments."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def load(path: str | os.PathLike[str], model: Model) -> Model:
    """Load a model's state from a file that `save` wrote, or raise and change nothing.

    Parameters
    ----------
    path : path-like
    model : Module
        A model of the same structure as the saved one, whose layers are all built.

    Returns
    -------
    Module
        The model itself.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged, is no checkpoint, or belongs to another model.
    TypeError
        `model` is not a Module.

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
    _check.instance("model", model, Module)
    arrays = _read(path)
    arrays.pop(METADATA, None)
    try:
        return model.load_state_dict(arrays)
    except (TypeError, ValueError) as error:
        raise _check.unusable_checkpoint(path, error) from error


def metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the metadata that `save` wrote to a file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    dict
        Empty if `save` got none.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged or is no checkpoint.

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
    except (TypeError, ValueError, RecursionError) as error:
        raise _check.unusable_checkpoint(path, f"its metadata cannot be read: {error}") from error
    return dict(fields or {})


def _read(path: str | os.PathLike[str], only: str | None = None) -> dict[str, Array]:
    """Read all arrays of a file, or only the one that is named, if the file has it."""
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
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds for damaged files
        raise _check.unusable_checkpoint(path, error) from error
