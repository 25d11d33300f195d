"""Layers and models of Keras in a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from bn.convert import from_keras
from bn.explaining.results import Results
from bn.explaining.seen import Run, Seen, setting_by
from bn.types import Array


def run_keras(model: Any, x: Array, training: bool | None) -> Run:
    """Run a layer or model of Keras, and give its variables their values back."""
    import keras

    if not model.built:
        model(x)
    seen: list[Seen] = []
    weights = model.get_weights()
    with ExitStack() as stack:
        for layer in _layers(model):
            if isinstance(layer, keras.layers.BatchNormalization):
                stack.enter_context(_watched(layer, seen))
        try:
            y = _array(model(x, training=bool(training)))
        finally:
            model.set_weights(weights)
    return Run(y, seen)


def _layers(model: Any) -> Iterator[Any]:
    """The layer itself, and all inside it."""
    yield model
    for layer in getattr(model, "layers", ()):
        yield from _layers(layer)


@contextmanager
def _watched(layer: Any, seen: list[Seen]) -> Iterator[None]:
    """Within it, the calls of a layer are noted."""
    own = layer.call

    def call(x: Any, training: Any = None, mask: Any = None) -> Any:
        setting = setting_by(from_keras, len(x.shape), layer)
        if setting is not None:
            setting = setting.in_mode(bool(training) and layer.trainable)
        y = own(x, training=training, mask=mask)
        running = (_array(layer.moving_mean), _array(layer.moving_variance))
        seen.append(Seen(layer.name, setting, _array(x), Results(_array(y), *running)))
        return y

    layer.call = call
    try:
        yield
    finally:
        del layer.call


def _array(tensor: Any) -> Array:
    import keras

    return np.array(keras.ops.convert_to_numpy(tensor))
