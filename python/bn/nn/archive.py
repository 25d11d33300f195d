"""Arrays in a .npz file: written with a checksum, and read one by one, their headers first.

The file ends with the zip's comment, `bn crc32 ` and eight hexadecimal digits: the CRC-32 of all
bytes before the digits. A zip by itself has checksums of its members only; a flipped bit elsewhere
can make a member disappear.
"""

from __future__ import annotations

import errno
import io
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from bn import _check
from bn.types import Array, Shape

MARK = b"bn crc32 "
DIGITS = 8
CHUNK = 2**20
# The end of a zip without a comment, as np.savez writes it: a signature, counts and offsets, and
# the comment's length.
END_SIGNATURE, END_SIZE, NO_COMMENT = b"PK\x05\x06", 22, b"\0\0"
NPY = ".npy"
TRAINING = "training"  # the name of the text that only files of `save_training` have
# The header of an array of numbers has about 100 bytes.
MOST_HEADER_BYTES = 4096
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What zipfile, zlib and NumPy raise for damaged files. RuntimeError is for an encrypted member, and
# has NotImplementedError among its kinds: for an unknown way of compression.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
)


class Header(NamedTuple):
    """What an array in a file says of itself."""

    shape: Shape
    dtype: np.dtype[Any]


class Archive:
    """The arrays of an open .npz file."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        foreign = [name for name in file.namelist() if not name.endswith(NPY)]
        if foreign:
            hint = _hint(file.filename)
            raise ValueError(f"it must hold arrays only, got {foreign[0]}{hint}")
        self.names = [name.removesuffix(NPY) for name in file.namelist()]

    def header(self, name: str) -> Header:
        """Read an array's header, and compare the size that it tells with that of the member."""
        info = self._file.getinfo(name + NPY)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name} must be stored or deflated, got type {info.compress_type}")
        with self._file.open(info) as member:
            start = io.BytesIO(member.read(MOST_HEADER_BYTES))
        version = np.lib.format.read_magic(start)
        if version not in HEADERS:
            raise ValueError(f"{name} must be of .npy version 1 or 2, got {version[0]}")
        shape, _, dtype = HEADERS[version](start)
        if dtype.hasobject:
            raise ValueError(f"{name} must hold numbers, got dtype {dtype}")
        expected = start.tell() + math.prod(shape) * dtype.itemsize
        if info.file_size != expected:
            raise ValueError(
                f"{name} must have {expected} bytes, as its header says, got {info.file_size}"
            )
        return Header(shape, dtype)

    def array(self, name: str) -> Array:
        """Read an array. Its memory is as large as its header says: check that first."""
        with self._file.open(name + NPY) as member:
            out: Array = np.lib.format.read_array(member, allow_pickle=False)
            return out


def write(file: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write arrays to a file that is open for reading, too, and was empty.

    np.savez cannot write arrays that are named like its own arguments.
    """
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = MARK + b"0" * DIGITS
        for name, array in arrays.items():
            with archive.open(name + NPY, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    digits = _checksum(file)
    file.seek(-DIGITS, os.SEEK_END)
    file.write(digits)


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[Archive]:
    """Open a file for reading; errors that come from damage become one ValueError with its name."""
    _check.regular_file(path)
    try:
        if Path(path).is_dir():
            raise ValueError("it is a folder")
        with Path(path).open("rb") as file:
            _verify(file)
            with zipfile.ZipFile(file) as archive:
                yield Archive(archive)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a seek to an offset that is damaged
            raise
        raise _check.unusable_checkpoint(path, error) from error
    except DAMAGE as error:
        raise _check.unusable_checkpoint(path, error) from error


def _verify(file: IO[bytes]) -> None:
    """Check the checksum, which a file has unless it is a zip that ends without a comment."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_SIZE))
    end = file.read()
    if end[:-DIGITS].endswith(MARK):
        if _checksum(file) != end[-DIGITS:]:
            raise ValueError(f"its checksum is wrong: it is damaged {_damaged_part(file)}")
    elif not (end.startswith(END_SIGNATURE) and end.endswith(NO_COMMENT)):
        raise ValueError(f"it is damaged, cut short, or not a .npz file{_hint(file.name)}")


def _hint(name: str | None) -> str:
    """Where files of other names than a .npz file's are read, as the end of a message."""
    is_npz = name is not None and name.lower().endswith(".npz")
    return "" if is_npz else " (for other kinds of files see bn.load_state)"


def _checksum(file: IO[bytes]) -> bytes:
    """The checksum of a file's bytes before the last digits, as text."""
    left = file.seek(0, os.SEEK_END) - DIGITS
    file.seek(0)
    crc = 0
    while left > 0 and (chunk := file.read(min(CHUNK, left))):
        crc = zlib.crc32(chunk, crc)
        left -= len(chunk)
    return f"{crc:0{DIGITS}x}".encode()


def _damaged_part(file: IO[bytes]) -> str:
    """Where the bytes of a file are that do not fit its checksum, as words for a message."""
    try:
        with zipfile.ZipFile(file) as archive:
            name = archive.testzip()
    except (*DAMAGE, OSError):
        name = None
    return "outside of its arrays" if name is None else f"in {name.removesuffix(NPY)}"
