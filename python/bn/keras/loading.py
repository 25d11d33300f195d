"""``.keras`` files, read, whoever wrote them."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from bn import _check
from bn.keras import limits, weights_files
from bn.keras.layers import CLASSES, InputLayer
from bn.keras.model import Model, Sequential
from bn.keras.optimizer_files import put_state
from bn.keras.saving import CONFIG, ENDING, WEIGHTS, is_graph
from bn.keras.tensors import KerasTensor
from bn.nn.archive import DAMAGE

Place: TypeAlias = tuple[Any, int]  # the name of a layer, and the number of its call
Call: TypeAlias = tuple[list[Place], dict[str, Any]]  # where its inputs come from, and options

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


def layer_of(config: Any) -> Any:
    """The layer, or the model inside of a model, that a file says."""
    _check.keras_config("a layer", config)
    kind, own = config.get("class_name"), config["config"]
    known = [*(name for name in CLASSES if name != "Layer"), "Sequential", "Functional"]
    _check.keras_name("layer", kind, known)
    _check.module_of_keras(kind, config.get("module"))
    if kind == "Sequential":
        return sequential_of(own)
    return graph_of(own) if kind == "Functional" else CLASSES[kind].from_config(own)


def sequential_of(config: Mapping[str, Any]) -> Any:
    """The chain that its `get_config` describes, without its weights."""
    layers = _check.keras_list("layers", config.get("layers"))
    trainable = config.get("trainable", True)
    model = Sequential([layer_of(each) for each in layers], trainable, config.get("name"))
    if not model.built and config.get("build_input_shape") is not None:
        model.build(config["build_input_shape"])
    return model


def graph_of(config: Mapping[str, Any]) -> Any:
    """The graph that its `get_config` describes, without its weights."""
    layers: dict[Any, Any] = {}
    calls: dict[Place, Call] = {}
    for each in _check.keras_list("layers", config.get("layers")):
        _check.keras_config("a layer", each)
        name = each.get("name")
        layers[name] = layer_of(each)
        for i, call in enumerate(_check.keras_list("inbound_nodes", each.get("inbound_nodes"))):
            calls[name, i] = _call(call)
    outputs = _outputs(layers, calls)
    first = config.get("input_layers")
    several = isinstance(first, list) and bool(first) and isinstance(first[0], list)
    inputs = [outputs[_place(each)] for each in (first if several else [first])]  # type: ignore[union-attr]
    name, number = _place(_check.one_output_layer(config.get("output_layers")))
    output = outputs[name, number - is_graph(layers[name])]
    return Model(inputs, output, config.get("name"), config.get("trainable", True))


def _outputs(layers: Mapping[Any, Any], calls: Mapping[Place, Call]) -> dict[Place, KerasTensor]:
    """Make the calls, each after those whose outputs it takes and after its layer's ones before."""
    outputs = {
        (name, 0): each.output for name, each in layers.items() if isinstance(each, InputLayer)
    }
    begun: set[Place] = set()
    for wanted in calls:
        open_calls = [wanted]
        while open_calls:
            place = open_calls[-1]
            _check.call_is_there(place, place in calls or place in outputs)
            if place in outputs:
                open_calls.pop()
                continue
            (name, number), (inputs, options) = place, calls[place]
            needed = [*inputs, *[(name, number - 1)] * (number > 0)]
            missing = [each for each in needed if each not in outputs]
            _check.no_circle(not (missing and place in begun))
            begun.add(place)
            open_calls += missing
            if not missing:
                outputs[place] = layers[name]([outputs[each] for each in inputs], **options)
    return outputs


def _call(call: Any) -> Call:
    """The tensors that a call takes, by their layers and numbers, and its options."""
    _check.keras_call(call)
    (inputs,) = call["args"] if len(call["args"]) == 1 else [call["args"]]
    flat = inputs if isinstance(inputs, list) else [inputs]
    options = {name: value for name, value in call["kwargs"].items() if value is not None}
    return [_place(_check.keras_history(each)) for each in flat], options


def _place(history: Any) -> Place:
    """(the layer, the number of its call), without the number of the output, which is 0."""
    _check.keras_place(history)
    return history[0], history[1]
