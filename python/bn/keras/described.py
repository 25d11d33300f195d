"""Layers and models that their `get_config` describes, made again without their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from bn import _check
from bn.keras.layers import CLASSES, InputLayer
from bn.keras.saving import is_graph
from bn.keras.tensors import KerasTensor

Place: TypeAlias = tuple[Any, int]  # the name of a layer, and the number of its call
Call: TypeAlias = tuple[list[Place], dict[str, Any]]  # where its inputs come from, and options

MODELS: dict[str, Any] = {}  # the classes of models by Keras's names, which `model` fills


def layer_of(config: Any) -> Any:
    """The layer, or the model inside of a model, that a file says."""
    _check.keras_config("a layer", config)
    kind, own = config.get("class_name"), config["config"]
    known = [*(name for name in CLASSES if name != "Layer"), *MODELS]
    _check.keras_name("layer", kind, known)
    _check.module_of_keras(kind, config.get("module"))
    if kind == "Sequential":
        return sequential_of(own)
    return graph_of(own) if kind == "Functional" else CLASSES[kind].from_config(own)


def sequential_of(config: Mapping[str, Any]) -> Any:
    """The chain that its `get_config` describes, without its weights."""
    layers = _check.keras_list("layers", config.get("layers"))
    trainable = config.get("trainable", True)
    model = MODELS["Sequential"]([layer_of(each) for each in layers], trainable, config.get("name"))
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
    return MODELS["Functional"](inputs, output, config.get("name"), config.get("trainable", True))


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
