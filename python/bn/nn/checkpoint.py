"""Checkpoints: saving and loading a model's state as a NumPy .npz file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from bn import _check
from bn.module import Module
from bn.nn.archive import TRAINING, reading, write
from bn.nn.replacing import replacing
from bn.types import Shape

Model = TypeVar("Model", bound=Module)

METADATA = "__metadata__"
MOST_METADATA_BYTES = 2**24  # as they are stored, with four bytes for each character


def save(
    path: str | os.PathLike[str], model: Module, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a model's state to a file.

    The state is written to a temporary file in the same folder, which is flushed to the disk and
    then renamed. After a crash at any moment `path` is therefore either the complete old checkpoint
    or the complete new one. The temporary file that a killed process leaves, `.bn-*.tmp`, is
    removed by a later save in the same folder.

    A file that is replaced keeps its mode. `numpy.load` reads the file, too; its last bytes are a
    checksum of all others, by which `load` and `metadata` notice any damage.

    Parameters
    ----------
    path : path-like
        The file; no ending is added to its name. If it is a symbolic link, the file it points to
        is written.
    model : Module
    metadata : dict, optional
        Anything that JSON can represent, up to 4 million characters; `metadata` reads it back.

    Raises
    ------
    TypeError
        `model` is not a Module, `metadata` is not a dict, or JSON cannot represent it.
    ValueError
        `path` is a device, a pipe or a socket, or the metadata are too long.
    OSError
        The file cannot be written. The error names `path`.

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
    _check.metadata_size(text.nbytes, MOST_METADATA_BYTES)
    _check.regular_file(path)
    with replacing(path) as file:
        write(file, {**dict(model.named_state()), METADATA: text})


def load(path: str | os.PathLike[str], model: Model) -> Model:
    """Load a model's state from a file that `save` wrote, or raise and change nothing.

    Names, shapes and dtypes are compared with the model's before an array is read, so that no file
    takes more memory than the model's own state.

    Parameters
    ----------
    path : path-like
        Also a file of `numpy.savez`, which has no checksum of the whole.
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
    OSError
        The file cannot be read.
    ValueError
        The file is damaged, is no checkpoint, or belongs to another model; or `path` is a device, a
        pipe or a socket.
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
    own = dict(model.named_state())
    with reading(path) as archive:
        _check.model_alone(TRAINING in archive.names)
        names = [name for name in archive.names if name != METADATA]
        _check.state_layout(own, {name: archive.header(name) for name in names})
        arrays = {name: archive.array(name) for name in names}
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
    OSError
        The file cannot be read.
    ValueError
        The file is damaged or is no checkpoint; or `path` is a device, a pipe or a socket.

    Examples
    --------
    >>> import tempfile
    >>> from bn import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/model.npz", nn.ReLU(), {"classes": ["cat", "dog"]})
    ...     metadata(folder + "/model.npz")
    {'classes': ['cat', 'dog']}
    """
    with reading(path) as archive:
        if METADATA not in archive.names:
            return {}
        header = archive.header(METADATA)
        _check.metadata_array(header.shape, header.dtype, MOST_METADATA_BYTES)
        text = str(archive.array(METADATA))
    try:
        fields = json.loads(text)
        _check.metadata(fields)
    except (TypeError, ValueError, RecursionError) as error:
        raise _check.unusable_checkpoint(path, f"its metadata cannot be read: {error}") from error
    return dict(fields or {})


def shapes(path: str | os.PathLike[str]) -> dict[str, Shape]:
    """The shapes of a checkpoint's arrays by their names; no array is read."""
    with reading(path) as archive:
        return {name: archive.header(name).shape for name in archive.names if name != METADATA}
