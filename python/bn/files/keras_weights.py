"""Keras's files of weights: HDF5, with a group for each layer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from bn import _check
from bn.files.hdf5 import array_of, datasets_in
from bn.types import Array

USER = "a .weights.h5 file"
WHOLE_MODEL = ("model_config", "training_config")  # attributes that only whole models have


def read_keras_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Array], bool]:
    """The arrays of a file of ``save_weights``, by their paths in it.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    arrays : dict
        Of Keras 3 by names like ``layers/conv2d_1/vars/0``, in the order of the numbers in them; of
        Keras 2 by names like ``conv2d_1/conv2d_1/kernel:0``, in the model's order.
    in_order : bool
        Whether the file tells the model's order, as those of Keras 2 do.

    Raises
    ------
    ImportError
        h5py is not installed.
    ValueError
        The file is damaged, holds a whole model, or has links, filters or other parts that no file
        of weights needs; or its arrays would take more memory than it has bytes.

    References
    ----------
    keras.Model.save_weights.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".weights.h5") as file:
    ...     write_keras_weights(file, {"layers/dense/vars/0": np.ones(2, np.float32)})
    ...     read_keras_weights(file.name)
    ({'layers/dense/vars/0': array([1., 1.], dtype=float32)}, False)
    """
    _check.files_package(USER, "h5py")
    import h5py

    with h5py.File(path, "r") as file:
        if any(name in file.attrs for name in WHOLE_MODEL):
            raise ValueError("it is a whole model: save its weights by model.save_weights")
        found = datasets_in(file, Path(path).stat().st_size)
        names = _names_in_order(file)
        if names is not None:
            if set(names) != found.keys():
                raise ValueError("its layer_names and weight_names must name its arrays")
            found = {name: found[name] for name in names}
        return {name: array_of(dataset) for name, dataset in found.items()}, names is not None


def _names_in_order(file: Any) -> list[str] | None:
    """The paths in the order that a file of Keras 2 tells; None for others."""
    layers = _texts(file, "layer_names")
    if layers is None:
        return None
    if "top_level_model_weights" in file:
        layers.append("top_level_model_weights")
    inside = ((layer, _texts(file[layer], "weight_names")) for layer in layers)
    return [f"{layer}/{name}" for layer, names in inside for name in names or []]


def _texts(group: Any, name: str) -> list[str] | None:
    """The texts in an attribute, which is cut into numbered ones if it is long."""
    if name in group.attrs:
        return _decoded(group.attrs[name])
    parts: list[list[str]] = []
    while f"{name}{len(parts)}" in group.attrs:
        parts.append(_decoded(group.attrs[f"{name}{len(parts)}"]))
    return [text for part in parts for text in part] if parts else None


def _decoded(values: Any) -> list[str]:
    return [v.decode() if isinstance(v, bytes) else str(v) for v in np.asarray(values).ravel()]


def write_keras_weights(file: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write arrays to a file by their paths in it.

    Parameters
    ----------
    file : binary file
        Open for reading and writing, and empty.
    arrays : mapping of str to ndarray

    Raises
    ------
    ImportError
        h5py is not installed.
    ValueError
        A name cannot be a path, or is one of a group too.
    """
    _check.files_package(USER, "h5py")
    import h5py

    with h5py.File(file, "w") as target:
        for name, array in arrays.items():
            if any(part in ("", ".", "..") for part in name.split("/")):
                raise ValueError(f"{name!r} must be a path of names between slashes")
            target.create_dataset(name, data=array)
