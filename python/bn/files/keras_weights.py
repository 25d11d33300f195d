"""Keras's files of weights: HDF5, with a group for each layer."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from bn import _check
from bn.types import Array

USER = "a .weights.h5 file"
MOST_DEPTH = 64  # of groups in groups
MOST_NAMES = 2**17
WHOLE_MODEL = ("model_config", "training_config")  # attributes that only whole models have
HALF = "bfloat16"


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
        found = dict(_datasets(file))
        _check.size_in_file(sum(d.nbytes for d in found.values()), Path(path).stat().st_size)
        names = _names_in_order(file)
        if names is not None:
            if set(names) != found.keys():
                raise ValueError("its layer_names and weight_names must name its arrays")
            found = {name: found[name] for name in names}
        return {name: _array(dataset) for name, dataset in found.items()}, names is not None


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """(path, dataset) of all arrays, which are checked without being read."""
    import h5py

    seen, todo, count = {h5py.h5o.get_info(file.id).addr}, [("", file, 0)], 0
    while todo:
        path, group, depth = todo.pop()
        if depth > MOST_DEPTH:
            raise ValueError(f"its groups must be nested up to {MOST_DEPTH} deep")
        inner = []
        for name in sorted(group, key=natural):
            count += 1
            if count > MOST_NAMES:
                raise ValueError(f"it must have up to {MOST_NAMES} names")
            place = f"{path}/{name}" if path else name
            if type(group.get(name, getlink=True)) is not h5py.HardLink:
                raise ValueError(f"{place} must be an array or a group, got a link")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise ValueError(f"{place} must be in one place, got a second name")
            seen.add(address)
            if isinstance(item, h5py.Group):
                inner.append((place, item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                _check_dataset(place, item)
                yield place, item
            else:
                raise ValueError(f"{place} must be an array or a group")
        todo += inner[::-1]


def natural(name: str) -> list[tuple[str, int]]:
    """A key that sorts names by the numbers in them: conv2d, conv2d_1, conv2d_2, conv2d_10.

    Examples
    --------
    >>> sorted(["conv2d_10", "conv2d_2", "conv2d"], key=natural)
    ['conv2d', 'conv2d_2', 'conv2d_10']
    """
    parts = re.split(r"(\d{1,18})", name)
    numbers = [int(digits) for digits in parts[1::2]]
    return list(zip(parts[::2], [*numbers, 0], strict=True))


def _check_dataset(place: str, dataset: Any) -> None:
    """Check that an array is numbers that lie in the file as they are."""
    plist = dataset.id.get_create_plist()
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{place} must lie in the file itself")
    if plist.get_nfilters():
        raise ValueError(f"{place} must be stored without filters")
    if not _is_half(dataset):
        _check.dtype_in_file(place, dataset.dtype)
    if dataset.shape is None:
        raise ValueError(f"{place} must have a shape")
    if dataset.id.get_storage_size() < dataset.nbytes:
        stored = dataset.id.get_storage_size()
        raise ValueError(f"{place} must have {dataset.nbytes} bytes in the file, got {stored}")


def _is_half(dataset: Any) -> bool:
    return bool(dataset.dtype.itemsize == 2 and dataset.attrs.get("dtype") == HALF)


def _array(dataset: Any) -> Array:
    if _is_half(dataset) and dataset.dtype.name != HALF:
        _check.files_package(HALF, "ml_dtypes")
        import ml_dtypes

        return np.asarray(dataset[()]).view(ml_dtypes.bfloat16)
    return native(np.asarray(dataset[()]))


def native(array: Array) -> Array:
    """The array in this machine's order of bytes.

    Examples
    --------
    >>> native(np.ones(1, ">f8")).dtype.isnative
    True
    """
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


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
