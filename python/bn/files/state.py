"""`load_state` and `save_state`: states in the files of other frameworks."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from numpy.typing import ArrayLike

from bn import _check
from bn.files.hdf5 import native
from bn.files.keras_weights import read_keras_weights, write_keras_weights
from bn.files.kinds import KERAS, NPZ, SAFETENSORS, check_content, kind_of_name
from bn.files.safe_tensors import METADATA, read_safetensors, write_safetensors
from bn.nn.archive import DAMAGE, reading, write
from bn.nn.checkpoint import METADATA as TEXT
from bn.nn.replacing import replacing
from bn.types import Array

HALVES = {SAFETENSORS: ("float16", "bfloat16"), NPZ: ("float16",), KERAS: ("float16",)}
MOST_EXPANSION = 16  # of a compressed .npz file


class LoadedState(dict[str, Array]):
    """The arrays of a file by their names, as `load_state` returns them.

    Parameters
    ----------
    arrays : mapping of str to ndarray, optional
    metadata : mapping of str to str, optional
        The texts beside the arrays in a .safetensors file.
    in_order : bool
        Whether the order is that of the model that was saved. Files of Keras 3 and most
        .safetensors files are sorted by name.

    Attributes
    ----------
    metadata : dict
    in_order : bool

    Examples
    --------
    >>> LoadedState(), LoadedState().metadata
    ({}, {})
    """

    def __init__(
        self,
        arrays: Mapping[str, Array] | None = None,
        metadata: Mapping[str, str] | None = None,
        in_order: bool = True,
    ) -> None:
        super().__init__(arrays or {})
        self.metadata, self.in_order = dict(metadata or {}), in_order


def load_state(path: str | os.PathLike[str]) -> LoadedState:
    """Read the arrays of a .safetensors, .npz or .weights.h5 file.

    What is in the file is checked before an array is read. Nothing of it is executed, and no array
    takes memory that the file has no bytes for (a compressed .npz file: up to 16 times its bytes).

    Parameters
    ----------
    path : path-like

    Returns
    -------
    LoadedState
        A dict of NumPy arrays under the names in the file, with the file's `metadata`. bfloat16
        arrays have the dtype of ml_dtypes. `model.load_state_dict` takes a dict with a model's own
        names; `match_state` makes one of a dict with other names.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        The file cannot be read.
    ValueError
        The file is damaged; or it is of another kind, such as one of ``torch.save``. Then the
        message has the line of code that converts it.
    ImportError
        h5py (for .weights.h5) or ml_dtypes (for bfloat16) is not installed.

    See Also
    --------
    match_state : Maps the names to those of a model.
    bn.nn.load : Loads a file of `bn.nn.save` into a model.

    Notes
    -----
    The library behind h5py is written in C, and is not made for files of an attacker. bn refuses
    links, filters and virtual arrays, but opening a damaged file is left to that library.

    References
    ----------
    https://github.com/huggingface/safetensors; numpy.load; keras.Model.load_weights.

    Examples
    --------
    >>> import tempfile
    >>> from bn import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_state(folder + "/model.safetensors", nn.Linear(2, 3, rng=0).state_dict())
    ...     state = load_state(folder + "/model.safetensors")
    >>> nn.Linear(2, 3).load_state_dict(state)
    Linear(in_features=2, out_features=3, bias=True)
    """
    suffix = kind_of_name(path)
    _check.regular_file(path)
    check_content(path, suffix)
    if suffix == NPZ:
        return _load_npz(path)
    try:
        if suffix == KERAS:
            arrays, in_order = read_keras_weights(path)
            return LoadedState(arrays, in_order=in_order)
        with Path(path).open("rb") as file:
            return LoadedState(*read_safetensors(file), in_order=False)
    except OSError as error:
        if error.errno is not None:
            raise
        raise _check.unusable_file(path, suffix, error) from error  # of HDF5
    except DAMAGE as error:
        raise _check.unusable_file(path, suffix, error) from error


def _load_npz(path: str | os.PathLike[str]) -> LoadedState:
    with reading(path) as archive:
        names = [name for name in archive.names if name != TEXT]
        if len(set(names)) < len(names):
            raise ValueError("it has a name twice")
        needed = 0
        for name in names:
            header = archive.header(name)
            _check.dtype_in_file(name, header.dtype)
            needed += math.prod(header.shape) * header.dtype.itemsize
        _check.size_in_file(needed, MOST_EXPANSION * Path(path).stat().st_size)
        return LoadedState({name: native(archive.array(name)) for name in names})


def save_state(
    path: str | os.PathLike[str],
    state: Mapping[str, ArrayLike],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays to a .safetensors, .npz or .weights.h5 file.

    They are written to a temporary file in the same folder, which then takes the place of `path`,
    as `bn.nn.save` does it: a crash leaves the old file or the new one.

    Parameters
    ----------
    path : path-like
        Its suffix chooses the format.
    state : mapping of str to array_like
        Such as ``model.state_dict()``. In a .weights.h5 file the names are paths; Keras reads those
        of a model of its own, as `load_state` returns them.
    metadata : mapping of str to str, optional
        For a .safetensors file.

    Raises
    ------
    TypeError
        `state` or `metadata` is no mapping of names, a value holds no numbers, or the format has no
        such dtype: bfloat16 fits into .safetensors files only.
    ValueError
        The suffix is another one, a name cannot be stored, there are metadata for a format without
        them, or `path` is a device, a pipe or a socket.
    OSError
        The file cannot be written. The error names `path`.
    ImportError
        h5py (for .weights.h5) is not installed.

    See Also
    --------
    load_state : The way back.

    References
    ----------
    https://github.com/huggingface/safetensors; numpy.savez; keras.Model.save_weights.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_state(folder + "/a.safetensors", {"w": np.ones(2)}, {"epochs": "3"})
    ...     load_state(folder + "/a.safetensors").metadata
    {'epochs': '3'}
    """
    suffix = kind_of_name(path, writing=True)
    arrays = _check.state_to_save(state, HALVES[suffix], suffix)
    texts = _check.texts("metadata", metadata)
    if suffix != SAFETENSORS:
        _check.no_metadata(texts, suffix)
    _check.state_names(arrays, {SAFETENSORS: METADATA, NPZ: TEXT}.get(suffix))
    _check.regular_file(path)
    with replacing(path) as file:
        if suffix == SAFETENSORS:
            write_safetensors(file, arrays, texts)
        elif suffix == NPZ:
            write(file, arrays)
        else:
            write_keras_weights(file, arrays)
