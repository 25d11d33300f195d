"""``.keras`` files: a model's layers as text, its weights, and how it was compiled."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bn import _check
from bn.keras import limits, weights_files
from bn.keras.configs import serialized
from bn.nn.archive import DAMAGE
from bn.nn.replacing import replacing

if TYPE_CHECKING:
    from bn.keras.graph import Graph
    from bn.keras.layers.base import Layer
    from bn.keras.tensors import KerasTensor, Node

ENDING = ".keras"
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MOST_CONFIG_BYTES = 2**24
MOST_TO_BE_MADE = 8  # numbers in memory for each one in the file, before the weights are compared
VERSION = "3.0.0"  # of Keras, whose files these are

__all__ = ["load_model", "save_model"]


# ---- writing ----


def save_model(model: Any, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write a model to a file that Keras reads, too; the state of the optimizer is left out.

    Parameters
    ----------
    model : Model
    filepath : path-like
        It ends in ``.keras``.
    overwrite : bool
        Whether a file may be replaced.

    Raises
    ------
    ImportError
        h5py is not installed.
    TypeError
        The model has what a file cannot hold, such as an initializer of one's own.
    ValueError
        The path has another ending, or the model has no weights yet.
    FileExistsError
        There is a file that may not be replaced.

    References
    ----------
    keras.saving.save_model.

    Examples
    --------
    >>> import tempfile
    >>> from bn import keras
    >>> model = keras.Sequential([keras.layers.Dense(3, input_shape=(4,))])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(model, f"{folder}/model.keras")
    ...     load_model(f"{folder}/model.keras").count_params()
    15
    """
    _check.keras_ending(os.fspath(filepath), ENDING)
    _check.keras_may_write(filepath, overwrite)
    _check.keras_built(model.name, model.built)
    config = serialized(model)
    if model.compiled:
        config["compile_config"] = compile_config(model)
    texts = {METADATA: metadata(), CONFIG: json.dumps(config, default=_refuse)}
    weights = io.BytesIO()
    weights_files.write(model, weights)
    with replacing(filepath) as file, zipfile.ZipFile(file, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
        archive.writestr(WEIGHTS, weights.getbuffer())


def metadata() -> str:
    """What a file says of its writing."""
    saved = time.strftime("%Y-%m-%d@%H:%M:%S")
    return json.dumps({"keras_version": VERSION, "date_saved": saved})


def compile_config(model: Any) -> dict[str, Any]:
    """How a model was compiled."""
    return {
        "optimizer": serialized(model.optimizer),
        "loss": serialized(model.loss),
        "metrics": [
            name if name in ("accuracy", "acc") else serialized(metric)
            for name, metric in model.compiled_metrics.items()
        ],
    }


def _refuse(value: Any) -> Any:
    raise _check.no_config(value)


def graph_config(name: str, trainable: bool, graph: Graph) -> dict[str, Any]:
    """The layers of a graph and their calls, as Keras writes them."""
    places = {node: _place(graph, node) for node in graph.nodes}

    def tensor(each: KerasTensor) -> dict[str, Any]:
        config = {
            "shape": list(each.shape), "dtype": each.dtype, "keras_history": places[each.node],
        }  # fmt: skip
        return {"class_name": "__keras_tensor__", "config": config}

    layers = []
    for layer in graph.layers:
        calls = []
        for node in _calls_of(graph, layer):
            inputs: list[Any] = [tensor(each) for each in node.inputs]
            several = layer.least_inputs > 1 or len(inputs) > 1
            calls.append({"args": [inputs] if several else inputs, "kwargs": node.options})
        layers.append({**serialized(layer), "name": layer.name, "inbound_nodes": calls})
    inputs = [places[each.node] for each in graph.inputs]
    last, number, _ = places[graph.output.node]
    return {
        "name": name, "trainable": trainable, "layers": layers,
        "input_layers": inputs if len(inputs) > 1 else inputs[0],
        "output_layers": [last, number + _is_graph(graph.output.node.layer), 0],
    }  # fmt: skip


def _calls_of(graph: Graph, layer: Layer) -> list[Node]:
    """The calls of a layer in a graph; those of an input have no arguments."""
    calls = set(graph.calls)
    return [node for node in layer.nodes if node in calls]


def _place(graph: Graph, node: Node) -> list[Any]:
    """The layer of a call, the number of the call, the number of the output."""
    own = _calls_of(graph, node.layer)
    return [node.layer.name, own.index(node) if node in own else 0, 0]


def _is_graph(layer: Layer) -> bool:
    """Whether Keras counts a call that made the layer, where it says what a model's output is."""
    return layer.keras_class == "Functional"


# ---- reading ----


def load_model(filepath: str | os.PathLike[str], compile: bool = True) -> Any:
    """Read a model from a ``.keras`` file.

    Only layers of `bn.keras` are made, and no code of the file runs. A file may come from anybody:
    the memory that is used is bounded by its size.

    Parameters
    ----------
    filepath : path-like
    compile : bool
        Whether to compile the model as it was. The optimizer begins anew.

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
    from bn.keras.layers import CLASSES

    _check.keras_config("a layer", config)
    kind, own = config.get("class_name"), config["config"]
    known = [*(name for name in CLASSES if name != "Layer"), "Sequential", "Functional"]
    _check.keras_name("layer", kind, known)
    _check.module_of_keras(kind, config.get("module"))
    if kind == "Sequential":
        return _sequential(own)
    return _graph(own) if kind == "Functional" else CLASSES[kind].from_config(own)


def _sequential(config: Mapping[str, Any]) -> Any:
    from bn.keras.models import Sequential

    layers = config.get("layers")
    _check.keras_list("layers", layers)
    trainable = config.get("trainable", True)
    model = Sequential([layer_of(each) for each in layers], trainable, config.get("name"))
    if not model.built:
        model.build(config.get("build_input_shape"))
    return model


def _graph(config: Mapping[str, Any]) -> Any:
    from bn.keras.models import Model

    given = config.get("layers")
    _check.keras_list("layers", given)
    layers = {
        each.get("name"): (layer_of(each), each.get("inbound_nodes")) for each in _dicts(given)
    }
    outputs: dict[tuple[Any, int], KerasTensor] = {}
    waiting = []
    for name, (layer, calls) in layers.items():
        _check.keras_list("inbound_nodes", calls)
        if not calls:
            _check.keras_connected(str(name), bool(layer.nodes))
            outputs[name, 0] = layer.output
        waiting += [(name, i, *_call(call)) for i, call in enumerate(calls)]
    while waiting:
        later = []
        for name, i, inputs, options in waiting:
            layer = layers[name][0]
            tensors = [outputs.get(each) for each in inputs]
            if None in tensors or (i > 0 and (name, i - 1) not in outputs):
                later.append((name, i, inputs, options))
            else:
                outputs[name, i] = layer(tensors, **options)
        _check.calls_can_be_made(len(later) < len(waiting))
        waiting = later
    inputs = config.get("input_layers")
    several = isinstance(inputs, list) and inputs and isinstance(inputs[0], list)
    found = [outputs[_key(each)] for each in (inputs if several else [inputs])]
    last = config.get("output_layers")
    _check.one_output_layer(last)
    last = last[0] if isinstance(last[0], list) else last
    output, number = _key(last)
    number -= _is_graph(layers[output][0])
    return Model(found, outputs[output, number], config.get("name"), config.get("trainable", True))


def _dicts(values: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
    for each in values:
        _check.keras_config("a layer", each)
    return values


def _call(call: Any) -> tuple[list[tuple[Any, int]], dict[str, Any]]:
    """The tensors that a call takes, by their layers and numbers, and its options."""
    _check.keras_call(call)
    (inputs,) = call["args"] if len(call["args"]) == 1 else [call["args"]]
    flat = inputs if isinstance(inputs, list) else [inputs]
    options = {name: value for name, value in call["kwargs"].items() if value is not None}
    return [_key(_check.keras_history(each)) for each in flat], options


def _key(history: Any) -> tuple[Any, int]:
    """(the layer, the number of its call), without the number of the output, which is 0."""
    _check.keras_place(history)
    return history[0], history[1]
