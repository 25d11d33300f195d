"""What kind of file a path is, by its name and by its first bytes."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import NamedTuple

from bn import _check
from bn.nn.archive import DAMAGE

SAFETENSORS, NPZ, KERAS = ".safetensors", ".npz", ".weights.h5"
OURS = {
    SAFETENSORS: "a .safetensors file",
    NPZ: "a .npz file",
    KERAS: "a .weights.h5 file of Keras",
}
FIRST_BYTES = 16
PICKLES = "a pickle, which can run any code when it is read"


class Foreign(NamedTuple):
    """A kind of file that `bn` does not read.

    Attributes
    ----------
    name : str
    why : str
        Why not, if there is more to say.
    line : str
        What converts it, with {path}, {safetensors} and {weights} in the place of names.
    writer : str
        What in `bn` writes such a file, if anything does.
    """

    name: str
    why: str
    line: str
    writer: str = ""


TORCH = Foreign(
    "a file of torch.save",
    PICKLES,
    "safetensors.torch.save_file(torch.load({path!r}, weights_only=True), {safetensors!r})",
)
PICKLE = Foreign("a pickle", PICKLES, TORCH.line)
KERAS_MODEL = Foreign(
    "a whole model of Keras",
    "with its code",
    "bn.keras.models.load_model({path!r}).save_weights({weights!r})",
    "the save of a model of bn.keras",
)
ONNX = Foreign(
    "a model of ONNX", "", "bn.onnx.load({path!r}).state_dict()", "bn.onnx.export of a model"
)
GGUF = Foreign(
    "a GGUF file",
    "whose arrays are often quantized",
    "bn.save_state({safetensors!r}, {{t.name: t.data for t in gguf.GGUFReader({path!r}).tensors}})",
)
TFLITE = Foreign(
    "a model of TensorFlow Lite",
    "whose arrays are often quantized",
    "model.save_weights({weights!r}), of the Keras model that it was made of",
)
FLAX = Foreign(
    "a msgpack file of Flax",
    "",
    "safetensors.flax.save_file(flax.traverse_util.flatten_dict(flax.serialization."
    "msgpack_restore(open({path!r}, 'rb').read()), sep='.'), {safetensors!r})",
)
BY_SUFFIX = {
    ".pt": TORCH,
    ".pth": TORCH,
    ".bin": TORCH,
    ".ckpt": TORCH,
    ".pkl": PICKLE,
    ".pickle": PICKLE,
    ".keras": KERAS_MODEL,
    ".onnx": ONNX,
    ".gguf": GGUF,
    ".tflite": TFLITE,
    ".msgpack": FLAX,
}
# Where the bytes are by which a kind of file is known, which they are, and the kind.
MARKS: tuple[tuple[int, bytes | tuple[bytes, ...], str | Foreign], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", KERAS),
    (0, b"GGUF", GGUF),
    (4, b"TFL3", TFLITE),
    (8, b"{", SAFETENSORS),
    (0, (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), PICKLE),
)


def kind_of_name(path: str | os.PathLike[str], *, writing: bool = False) -> str:
    """The suffix of a path, which must be one of those that `bn` reads and writes.

    Parameters
    ----------
    path : path-like
    writing : bool
        Whether the file is to be written, so that there is nothing to convert.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        It is another one. The error tells what kind of file it is, and how it is converted, or
        what writes it.

    Examples
    --------
    >>> kind_of_name("model.weights.h5")
    '.weights.h5'
    """
    name = Path(path).name.lower()
    for suffix in OURS:
        if name.endswith(suffix):
            return suffix
    if name.endswith(".h5"):  # of Keras 2
        return KERAS
    foreign = BY_SUFFIX.get(Path(name).suffix)
    if foreign is None:
        raise _check.unknown_kind(path)
    if writing:
        raise _check.not_written(path, foreign.name, foreign.writer)
    raise refused(path, foreign)


def check_content(path: str | os.PathLike[str], suffix: str) -> None:
    """Check that a file begins as one of this suffix does.

    Parameters
    ----------
    path : path-like
    suffix : str
        One of those that `kind_of_name` returns.

    Raises
    ------
    ValueError
        It is a file of another kind; the error names both.
    """
    found = kind_of_content(path)
    if found is None or found == suffix:
        return
    if isinstance(found, Foreign):
        raise refused(path, found)
    raise _check.content_of_another_kind(path, OURS[suffix], OURS[found])


def refused(path: str | os.PathLike[str], foreign: Foreign) -> ValueError:
    """The error for a file of a kind that `bn` does not read."""
    name = os.fspath(path)
    stem = os.fspath(Path(path).with_suffix(""))
    if name.lower().endswith(SAFETENSORS):
        stem += "-converted"  # the line must not write over what it reads
    line = foreign.line.format(path=name, safetensors=stem + SAFETENSORS, weights=stem + KERAS)
    return _check.other_kind(path, foreign.name, foreign.why, line)


def kind_of_content(path: str | os.PathLike[str]) -> str | Foreign | None:
    """What a file is by its first bytes: a suffix, a kind that `bn` does not read, or unknown."""
    with Path(path).open("rb") as file:
        start = file.read(FIRST_BYTES)
    if start.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    for place, mark, kind in MARKS:
        if start[place:].startswith(mark):
            return kind
    return None


def _kind_of_zip(path: str | os.PathLike[str]) -> str | Foreign | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (*DAMAGE, OSError):  # the reader of the archive tells what is wrong
        return None
    if any(name.endswith("data.pkl") for name in names):
        return TORCH
    if "model.weights.h5" in names:
        return KERAS_MODEL
    return NPZ if all(name.endswith(".npy") for name in names) else None
