"""`bn.nn`, channels-first, as its documentation trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import networks
import numpy as np
from networks import EPS, MOMENTUM, Layer, Layers, Network

import bn
from bn import nn
from trainers import Batch, Trainer


class Ours(Trainer):
    name = "bn"

    def __init__(self, threads: int) -> None:
        bn.set_num_threads(threads)

    def build(self, network: Network, weights: list[np.ndarray], batches: list[Batch]) -> None:
        self.model = sequential(network.layers, iter(weights))
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = nn.SGD(self.model.parameters(), network.lr, MOMENTUM)
        self._batches = batches

    def step(self, number: int) -> float:
        images, classes = self._batches[number]
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(images), classes)
        self.model.backward(self.criterion.backward(), input_grad=False)
        self.optimizer.step()
        return loss


class OursOneThread(Ours):
    name = "bn, 1 thread"
    environment: ClassVar[dict[str, str]] = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def __init__(self, threads: int) -> None:
        super().__init__(1)


class OursUnfused(Ours):
    name = "bn, each layer by itself"

    def step(self, number: int) -> float:
        with nn.fused(False):
            return super().step(number)


class OursDirect(Ours):
    name = "bn, without Winograd"

    def step(self, number: int) -> float:
        with nn.winograd(False):
            return super().step(number)


def sequential(layers: Layers, weights: Iterator[np.ndarray]) -> nn.Sequential:
    """A model of these layers, which takes its weights from the iterator."""
    return nn.Sequential(*(module(layer, weights) for layer in layers))


def module(layer: Layer, weights: Iterator[np.ndarray]) -> nn.Module:
    """One layer with its weights."""
    match layer:
        case networks.Conv(channels, kernel, stride, depthwise):
            weight = next(weights)
            groups = channels if depthwise else 1
            made = nn.Conv2d(
                weight.shape[1] * groups,
                channels,
                kernel,
                stride=stride,
                padding=kernel // 2,
                groups=groups,
                bias=False,
            )
            made.weight[...] = weight
        case networks.Norm(images):
            scale, shift = next(weights), next(weights)
            made = (bn.BatchNorm2d if images else bn.BatchNorm1d)(len(scale), eps=EPS)
            made.weight[...], made.bias[...] = scale, shift
        case networks.Linear():
            weight, bias = next(weights), next(weights)
            made = nn.Linear(weight.shape[1], weight.shape[0])
            made.weight[...], made.bias[...] = weight, bias
        case networks.Residual(body, shortcut):
            inside = sequential(body, weights)
            made = nn.Residual(inside, sequential(shortcut, weights) if shortcut else None)
        case networks.Relu():
            made = nn.ReLU()
        case networks.MaxPool(kernel, stride, padding):
            made = nn.MaxPool2d(kernel, stride, padding)
        case networks.GlobalPool():
            made = nn.AdaptiveAvgPool2d(1)
        case networks.Flatten():
            made = nn.Flatten()
    return made
