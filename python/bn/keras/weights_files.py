"""``.weights.h5`` files: a model's weights as Keras lays them out, and a reader for any of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bn import _check
from bn.files.hdf5 import array_of, datasets_in
from bn.keras.layers.weight import Weight
from bn.keras.names import snake_case
from bn.keras.optimizer_files import state_of
from bn.module import copy_all
from bn.nn.replacing import replacing
from bn.types import Array

if TYPE_CHECKING:
    from bn.keras.layers.base import Layer

ENDING = ".weights.h5"
# What Keras writes beside the weights of layers: the optimizer, and what random layers draw from.
ASIDE = ("optimizer/", "/seed_generator/")


def save(model: Layer, path: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write a model's weights, or raise and leave what was there.

    Parameters
    ----------
    model : Layer
        A model.
    path : path-like
        It ends in ``.weights.h5``.
    overwrite : bool
        Whether a file may be replaced.

    Raises
    ------
    ValueError
        The path has another ending, or the model has no weights yet.
    FileExistsError
        There is a file that may not be replaced.
    """
    _check.keras_ending(os.fspath(path), ENDING)
    _check.keras_may_write(path, overwrite)
    with replacing(path) as file:
        write(model, file)


def write(model: Layer, file: IO[bytes]) -> None:
    """Write a model's weights into a file that is open for reading and writing."""
    _check.keras_built(model.name, model.built)
    _check.h5py_package()
    import h5py

    with h5py.File(file, "w") as h5:
        for key, weight in keys_of(model):
            h5.create_dataset(key, data=weight.numpy())
        for key, array in state_of(model):
            h5.create_dataset(key, data=array)


def load(model: Layer, path: str | os.PathLike[str]) -> None:
    """Read a model's weights, or raise and change nothing.

    Parameters
    ----------
    model : Layer
        A model.
    path : path-like

    Raises
    ------
    ValueError
        The file is damaged, or is one of another model.
    """
    _check.keras_ending(os.fspath(path), ENDING)
    _check.keras_built(model.name, model.built)
    put(model, read_arrays(path), path)


def put(model: Layer, arrays: Mapping[str, Array], path: object) -> None:
    """Copy the arrays of a file into a model, or raise and change nothing."""
    own = dict(keys_of(model))
    given = {key: a for key, a in arrays.items() if not any(word in key for word in ASIDE)}
    _check.keras_keys(path, list(own), list(given))
    pairs = []
    for key, weight in own.items():
        _check.shape(f"{key} in {path}", given[key], weight.shape)
        pairs += weight.pairs(given[key])
    copy_all(pairs)


def keys_of(model: Any, prefix: str = "") -> Iterator[tuple[str, Weight]]:
    """(where Keras has it in a file, weight) of a model.

    Layers are named by their classes and counted, whatever their own names are.

    Parameters
    ----------
    model : Model
    prefix : str

    Examples
    --------
    >>> from bn import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="any")])
    >>> [key for key, weight in keys_of(model)]
    ['layers/dense/vars/0', 'layers/dense/vars/1']
    """
    numbers: dict[str, int] = {}
    met: set[Weight] = set()  # a layer that is in several models is in the first place only
    for layer in model.layers:
        kind = snake_case(layer.keras_class)
        number = numbers[kind] = numbers.get(kind, -1) + 1
        base = f"{prefix}layers/{kind}_{number}/" if number else f"{prefix}layers/{kind}/"
        inside = keys_of if hasattr(layer, "layers") else _keys_of_layer
        for key, weight in inside(layer, base):
            if weight not in met:
                met.add(weight)
                yield key, weight


def _keys_of_layer(layer: Layer, base: str) -> Iterator[tuple[str, Weight]]:
    counts: dict[str, int] = {}
    for weight in layer.own_weights:
        place = f"{base}{weight.place}/vars/" if weight.place else f"{base}vars/"
        number = counts[place] = counts.get(place, -1) + 1
        yield f"{place}{number}", weight


# ---- reading what anybody may have written ----


def read_arrays(file: str | os.PathLike[str] | IO[bytes], name: object = None) -> dict[str, Array]:
    """All arrays of an HDF5 file by their paths in it.

    Nothing outside of the file is read, and no more memory is used than the file has bytes: arrays
    must be stored in it as they are.

    Parameters
    ----------
    file : path-like, or file that is open for reading
    name : object, optional
        What messages call the file, by default its path.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    ImportError
        h5py is not installed.
    ValueError
        It is no such file, is damaged, or has links, compressed arrays, or arrays of no numbers.
    OSError
        It cannot be read.
    """
    _check.h5py_package()
    import h5py

    if isinstance(file, (str, os.PathLike)):
        _check.regular_file(file)
        name = os.fspath(file)
        with Path(file).open("rb") as opened:
            return read_arrays(opened, name)
    size = file.seek(0, os.SEEK_END)
    try:
        with h5py.File(file, "r") as h5:
            return {key: array_of(each) for key, each in datasets_in(h5, size).items()}
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise _check.unusable_keras_file(name, error) from error
