"""HDF5 files that anybody may have written: all arrays, checked before they are read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from bn import _check
from bn.types import Array

MOST_DEPTH = 64  # of groups in groups
MOST_NAMES = 2**17
HALF = "bfloat16"


def datasets_in(file: Any, size: int) -> dict[str, Any]:
    """The arrays of a file by their paths in it, before anything of them is read.

    Parameters
    ----------
    file : h5py.File
    size : int
        The bytes of the file: what its arrays may take together.

    Returns
    -------
    dict of str to h5py.Dataset
        In the order of the numbers in their names.

    Raises
    ------
    ValueError
        The file has links, filters, arrays of other files or of no numbers, groups that are nested
        too deeply, or an object under two names; or its arrays would take more memory than `size`.
    """
    found = dict(_datasets(file))
    _check.size_in_file(sum(dataset.nbytes for dataset in found.values()), size)
    return found


def array_of(dataset: Any) -> Array:
    """The values of an array, in this machine's order of bytes.

    Parameters
    ----------
    dataset : h5py.Dataset
        One of `datasets_in`.

    Returns
    -------
    ndarray
        Of bfloat16 if Keras marked it so.

    Raises
    ------
    ImportError
        It is bfloat16, and ml_dtypes is not installed.
    """
    if _is_half(dataset) and dataset.dtype.name != HALF:
        _check.files_package(HALF, "ml_dtypes")
        import ml_dtypes

        return np.asarray(dataset[()]).view(ml_dtypes.bfloat16)
    return native(np.asarray(dataset[()]))


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


def native(array: Array) -> Array:
    """The array in this machine's order of bytes.

    Examples
    --------
    >>> native(np.ones(1, ">f8")).dtype.isnative
    True
    """
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
