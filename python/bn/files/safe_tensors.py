"""The safetensors format: a header in JSON, and behind it the bytes of all arrays."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from typing import IO, Any, NamedTuple

import numpy as np

from bn import _check
from bn.types import Array, Shape

METADATA = "__metadata__"
LENGTH = 8  # bytes that hold the header's length
MOST_HEADER_BYTES = 2**24  # of some hundred thousand arrays
MOST_AXES = 32  # of an array in every version of NumPy
ALIGNMENT = 8
DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32",
    "I32": "int32", "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16",
    "F32": "float32", "F64": "float64",
}  # fmt: skip
NAMES = {name: code for code, name in DTYPES.items()}


class Entry(NamedTuple):
    """What the header says of an array.

    Attributes
    ----------
    name : str
    dtype : dtype
    shape : tuple of int
    begin, end : int
        Where its bytes are, counted from the end of the header.
    """

    name: str
    dtype: np.dtype[Any]
    shape: Shape
    begin: int
    end: int


def read_safetensors(file: IO[bytes]) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and the metadata of a file, in the order of its header.

    The header is checked before an array is made, so that the arrays take no more memory than the
    file has bytes.

    Parameters
    ----------
    file : binary file
        Open for reading.

    Returns
    -------
    arrays, metadata : dict

    Raises
    ------
    ValueError
        The file is damaged, or no safetensors file.
    ImportError
        It has bfloat16 arrays, and ml_dtypes is not installed.

    References
    ----------
    https://github.com/huggingface/safetensors, "Format".

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> write_safetensors(file, {"w": np.ones(2, np.float32)}, {"by": "bn"})
    >>> read_safetensors(file)
    ({'w': array([1., 1.], dtype=float32)}, {'by': 'bn'})
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(LENGTH), "little")
    if size < LENGTH or length > size - LENGTH:
        raise ValueError(f"its header must fit into its {size} bytes, got {length} bytes")
    if length > MOST_HEADER_BYTES:
        raise ValueError(f"its header must have at most {MOST_HEADER_BYTES} bytes, got {length}")
    fields = _parsed(file.read(length))
    metadata = _metadata(fields.pop(METADATA, {}))
    entries = [_entry(name, value) for name, value in fields.items()]
    _check_places(entries, size - LENGTH - length)
    return {e.name: _array(file, e, LENGTH + length) for e in entries}, metadata


def _parsed(header: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(header.decode("utf-8"), object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    if not isinstance(fields, dict):
        raise ValueError(f"its header must be an object, got {type(fields).__name__}")
    return fields


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its header has a name twice")
    return found


def _metadata(value: object) -> dict[str, str]:
    try:
        return _check.texts(METADATA, value)
    except TypeError as error:
        raise ValueError(str(error)) from error


def _entry(name: str, value: object) -> Entry:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name} must have a dtype, a shape and data_offsets")
    shape, offsets = _integers(name, value["shape"]), _integers(name, value["data_offsets"])
    if len(shape) > MOST_AXES or len(offsets) != 2:
        raise ValueError(f"{name} must have up to {MOST_AXES} axes and two data_offsets")
    code = value["dtype"]
    if not isinstance(code, str) or code not in DTYPES:
        raise ValueError(f"{name} must have one of the dtypes {', '.join(DTYPES)}, got {code!r}")
    dtype, (begin, end) = _dtype(code), offsets
    needed = math.prod(shape) * dtype.itemsize
    if end - begin != needed:
        raise ValueError(f"{name} must have {needed} bytes, as its shape says, got {end - begin}")
    return Entry(name, dtype, shape, begin, end)


def _integers(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(n) is int and 0 <= n < 2**63 for n in value):
        raise ValueError(f"{name} must have a shape and data_offsets of integers from 0 on")
    return tuple(value)


def _dtype(code: str) -> np.dtype[Any]:
    if code != "BF16":
        return np.dtype(DTYPES[code])
    _check.files_package("bfloat16", "ml_dtypes")
    import ml_dtypes

    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def _check_places(entries: list[Entry], size: int) -> None:
    """Check that the arrays lie side by side and fill the file."""
    at = 0
    for entry in sorted(entries, key=lambda e: (e.begin, e.end)):
        if entry.begin != at:
            raise ValueError(f"{entry.name} must begin at byte {at}, got {entry.begin}")
        at = entry.end
    if at != size:
        raise ValueError(f"its arrays must have {size} bytes, as there are, got {at}")


def _array(file: IO[bytes], entry: Entry, start: int) -> Array:
    """Read an array into its own memory."""
    out: Array = np.empty(entry.shape, entry.dtype)
    if out.nbytes:
        file.seek(start + entry.begin)
        if file.readinto(out.reshape(-1).view(np.uint8)) != out.nbytes:  # type: ignore[attr-defined]
            raise ValueError(f"{entry.name} is cut short")
    if entry.dtype == bool and out.size and out.view(np.uint8).max() > 1:
        raise ValueError(f"{entry.name} must hold bytes of 0 and 1")
    return out if sys.byteorder == "little" else out.byteswap()


def write_safetensors(
    file: IO[bytes], arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    """Write arrays to a file; the header has them in their order.

    Parameters
    ----------
    file : binary file
        Open for writing, and empty.
    arrays : mapping of str to ndarray
    metadata : mapping of str to str
    """
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    header.update({name: {} for name in arrays})
    # The widest come first, so that each lies at a multiple of its width.
    order = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    at = 0
    for name in order:
        array, begin = arrays[name], at
        at += array.nbytes
        header[name] = {
            "dtype": NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, at],
        }
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    file.write(len(text).to_bytes(LENGTH, "little") + text)
    for piece in _bytes_of(arrays[name] for name in order):
        file.write(piece)


def _bytes_of(arrays: Iterator[Array]) -> Iterator[memoryview]:
    for array in arrays:
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        yield little.reshape(-1).view(np.uint8).data
