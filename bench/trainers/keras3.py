"""Keras 3, channels-last as on every CPU, trained by `train_on_batch`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, ClassVar

import networks
import numpy as np
from networks import EPS, IMAGE, MOMENTUM, Conv, Layer, Layers, Network

from trainers import Batch, Trainer


class Keras(Trainer):
    backend: ClassVar[str]

    def __init__(self, threads: int) -> None:
        os.environ["KERAS_BACKEND"] = self.backend
        self._start(threads)
        import keras

        self._keras = keras

    def _start(self, threads: int) -> None:
        """Import the backend with so many threads."""
        raise NotImplementedError

    def build(self, network: Network, weights: list[np.ndarray], batches: list[Batch]) -> None:
        keras = self._keras
        x = keras.Input((*IMAGE[1:], IMAGE[0]))
        self.model = keras.Model(x, _Builder(keras, iter(weights)).apply(network.layers, x))
        self.model.compile(
            keras.optimizers.SGD(network.lr, MOMENTUM),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        self._batches = [
            (np.ascontiguousarray(images.transpose(0, 2, 3, 1)), classes)
            for images, classes in batches
        ]

    def step(self, number: int) -> float:
        self.model.reset_metrics()  # or it returns the mean loss of all steps so far
        return float(self.model.train_on_batch(*self._batches[number]))


class KerasTensorFlow(Keras):
    name, backend = "Keras TF", "tensorflow"
    environment: ClassVar[dict[str, str]] = {"TF_CPP_MIN_LOG_LEVEL": "3"}

    def _start(self, threads: int) -> None:
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)


class KerasJax(Keras):
    name, backend = "Keras JAX", "jax"
    environment: ClassVar[dict[str, str]] = {"JAX_PLATFORMS": "cpu"}

    def _start(self, threads: int) -> None:
        os.environ["NPROC"] = str(threads)  # what XLA takes for the number of cores
        import jax  # noqa: F401


class KerasTorch(Keras):
    name, backend = "Keras PyTorch", "torch"

    def _start(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)


class _Builder:
    """Applies layers to symbolic tensors of Keras's functional interface."""

    def __init__(self, keras: Any, weights: Iterator[np.ndarray]) -> None:
        self._keras, self._weights = keras, weights
        self._image: tuple[int, ...] = ()  # (H, W, C), what was flattened

    def apply(self, layers: Layers, x: Any) -> Any:
        for layer in layers:
            x = self._one(layer, x)
        return x

    def _one(self, layer: Layer, x: Any) -> Any:
        kinds = self._keras.layers
        match layer:
            case networks.Conv():
                y = self._conv(layer, x)
            case networks.Norm():
                y = self._norm(x)
            case networks.Linear():
                y = self._linear(x)
            case networks.Residual(body, shortcut):
                y = kinds.Add()([self.apply(body, x), self.apply(shortcut, x)])
            case networks.Relu():
                y = kinds.ReLU()(x)
            case networks.MaxPool():
                y = kinds.MaxPooling2D(2)(x)
            case networks.GlobalPool():
                y = kinds.GlobalAveragePooling2D(keepdims=True)(x)
            case networks.Flatten():
                self._image = tuple(x.shape[1:])
                y = kinds.Flatten()(x)
        return y

    def _norm(self, x: Any) -> Any:
        norm = self._keras.layers.BatchNormalization(epsilon=EPS)
        y = norm(x)
        norm.gamma.assign(next(self._weights))
        norm.beta.assign(next(self._weights))
        return y

    def _conv(self, layer: Conv, x: Any) -> Any:
        weight, kinds = next(self._weights), self._keras.layers
        options = {"kernel_size": layer.kernel, "strides": layer.stride, "use_bias": False}
        if layer.stride > 1 and layer.kernel > 1:  # "same" would pad less before than after
            x = kinds.ZeroPadding2D(layer.kernel // 2)(x)
        else:
            options["padding"] = "same"
        if layer.depthwise:
            conv, axes = kinds.DepthwiseConv2D(**options), (2, 3, 0, 1)
        else:
            conv, axes = kinds.Conv2D(layer.channels, **options), (2, 3, 1, 0)
        y = conv(x)
        conv.kernel.assign(weight.transpose(axes))
        return y

    def _linear(self, x: Any) -> Any:
        weight, bias = next(self._weights), next(self._weights)
        dense = self._keras.layers.Dense(len(bias))
        y = dense(x)
        h, w, c = self._image or (1, 1, weight.shape[1])
        self._image = ()
        images = weight.reshape(-1, c, h, w)  # what Keras flattens has the channels last
        dense.kernel.assign(images.transpose(2, 3, 1, 0).reshape(-1, len(bias)))
        dense.bias.assign(bias)
        return y
