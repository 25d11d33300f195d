"""``.keras`` files, written: a model's layers as text, its weights, and how it was compiled."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from typing import TYPE_CHECKING, Any

from bn import _check
from bn.keras import weights_files
from bn.keras.configs import serialized
from bn.nn.replacing import replacing

if TYPE_CHECKING:
    from bn.keras.graph import Graph
    from bn.keras.layers.base import Layer
    from bn.keras.tensors import KerasTensor, Node

ENDING = ".keras"
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
VERSION = "3.0.0"  # of Keras, whose files these are


def save_model(model: Any, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write a model and the state of its optimizer to a file that Keras reads, too.

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
    ...     keras.models.load_model(f"{folder}/model.keras").count_params()
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
        "output_layers": [last, number + is_graph(graph.output.node.layer), 0],
    }  # fmt: skip


def _calls_of(graph: Graph, layer: Layer) -> list[Node]:
    """The calls of a layer in a graph; those of an input have no arguments."""
    calls = set(graph.calls)
    return [node for node in layer.nodes if node in calls]


def _place(graph: Graph, node: Node) -> list[Any]:
    """The layer of a call, the number of the call, the number of the output."""
    own = _calls_of(graph, node.layer)
    return [node.layer.name, own.index(node) if node in own else 0, 0]


def is_graph(layer: Layer) -> bool:
    """Whether Keras counts a call that made the layer, where it says what a model's output is.

    Parameters
    ----------
    layer : Layer
    """
    return layer.keras_class == "Functional"
