"""``.keras`` files, read, whoever wrote them."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bn import _check
from bn.keras import limits, weights_files
from bn.keras.described import layer_of
from bn.keras.optimizer_files import put_state
from bn.keras.saving import CONFIG, ENDING, WEIGHTS
from bn.nn.archive import DAMAGE

MOST_CONFIG_BYTES = 2**24
MOST_TO_BE_MADE = 8  # numbers in memory for each one in the file, before the weights are compared


def load_model(filepath: str | os.PathLike[str], compile: bool = True) -> Any:
    """Read a model from a ``.keras`` file.

    Only layers of `bn.keras` are made, and no code of the file runs. A file may come from anybody:
    the memory that is used is bounded by its size.

    Parameters
    ----------
    filepath : path-like
    compile : bool
        Whether to compile the model as it was, with the state of its optimizer.

    Returns
    -------
    Model

    Raises
    ------
    ImportError
        h5py is not installed.
    ValueError
        The file is damaged, or has a layer, or an argument of one, that `bn.keras` has not. A
        `Lambda` layer, which would be code, is one of them.
    OSError
        It cannot be read.

    References
    ----------
    keras.saving.load_model.

    Examples
    --------
    See `save_model`.
    """
    _check.keras_ending(os.fspath(filepath), ENDING)
    _check.flag("compile", compile)
    _check.regular_file(filepath)
    try:
        with Path(filepath).open("rb") as file, zipfile.ZipFile(file) as archive:
            config = _config(archive)
            weights = _weights(archive, os.fstat(file.fileno()).st_size)
        arrays = weights_files.read_arrays(io.BytesIO(weights), WEIGHTS)
        # The layers say how many weights they will have at most, an LSTM as many as a simple layer.
        with limits.at_most(MOST_TO_BE_MADE * sum(a.size for a in arrays.values())):
            model = model_of(config)
        weights_files.put(model, arrays, WEIGHTS)
        if compile and config.get("compile_config"):
            compile_as(model, config["compile_config"])
            put_state(model, arrays)
        return model
    except (*DAMAGE, RecursionError, AttributeError, OverflowError, MemoryError) as error:
        raise _check.unusable_keras_file(filepath, error) from error


def _config(archive: zipfile.ZipFile) -> dict[str, Any]:
    """The text of the layers."""
    info = archive.getinfo(CONFIG)
    _check.config_bytes(info.file_size, MOST_CONFIG_BYTES)
    with archive.open(info) as member:
        text = member.read(MOST_CONFIG_BYTES + 1)
    _check.config_bytes(len(text), MOST_CONFIG_BYTES)
    config = json.loads(text)
    _check.keras_config("config.json", config)
    return config  # type: ignore[no-any-return]


def _weights(archive: zipfile.ZipFile, size: int) -> bytes:
    """The file of the weights, which must be stored as it is."""
    info = archive.getinfo(WEIGHTS)
    stored = info.compress_type == zipfile.ZIP_STORED and info.file_size <= size
    _check.stored_as_it_is(WEIGHTS, stored)
    return archive.read(info)


def compile_as(model: Any, config: Mapping[str, Any]) -> None:
    """Compile a model as a file says."""
    _check.keras_config("compile_config", {"config": config})
    model.compile(
        optimizer=config.get("optimizer", "rmsprop"), loss=config.get("loss"),
        metrics=config.get("metrics"), loss_weights=config.get("loss_weights"),
        weighted_metrics=config.get("weighted_metrics"),
    )  # fmt: skip


def model_of(config: Mapping[str, Any]) -> Any:
    """The model that a file says, without its weights."""
    layer = layer_of(config)
    _check.is_model(type(layer).__name__, hasattr(layer, "layers"))
    return layer
