"""PyTorch eager, in both of its memory formats: contiguous and channels_last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import networks
import numpy as np
from networks import EPS, MOMENTUM, Layer, Layers, Network

from trainers import Batch, Trainer


class PyTorch(Trainer):
    name = "PyTorch"
    last = False

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._torch = torch

    def build(self, network: Network, weights: list[np.ndarray], batches: list[Batch]) -> None:
        torch = self._torch
        form = torch.channels_last if self.last else torch.contiguous_format
        self.model = sequential(torch, network.layers, iter(weights)).to(memory_format=form)
        self._criterion = torch.nn.CrossEntropyLoss()
        self._optimizer = torch.optim.SGD(self.model.parameters(), network.lr, MOMENTUM)
        self._batches = [
            (torch.tensor(images).contiguous(memory_format=form), torch.tensor(classes))
            for images, classes in batches
        ]

    def step(self, number: int) -> float:
        images, classes = self._batches[number]
        self._optimizer.zero_grad()
        loss = self._criterion(self.model(images), classes)
        loss.backward()
        self._optimizer.step()
        return float(loss.detach())


class PyTorchLast(PyTorch):
    name = "PyTorch cl"
    last = True


def sequential(torch: Any, layers: Layers, weights: Iterator[np.ndarray]) -> Any:
    return torch.nn.Sequential(*(_module(torch, layer, weights) for layer in layers))


def _module(torch: Any, layer: Layer, weights: Iterator[np.ndarray]) -> Any:
    match layer:
        case networks.Conv(channels, kernel, stride, depthwise):
            weight = next(weights)
            groups = channels if depthwise else 1
            inputs, padding = weight.shape[1] * groups, kernel // 2
            made = torch.nn.Conv2d(
                inputs, channels, kernel, stride, padding, groups=groups, bias=False
            )
            _fill(torch, made, weight)
        case networks.Norm(images):
            scale, shift = next(weights), next(weights)
            made = (torch.nn.BatchNorm2d if images else torch.nn.BatchNorm1d)(len(scale), EPS)
            _fill(torch, made, scale, shift)
        case networks.Linear():
            weight, bias = next(weights), next(weights)
            made = torch.nn.Linear(*weight.shape[::-1])
            _fill(torch, made, weight, bias)
        case networks.Residual(body, shortcut):
            inside = sequential(torch, body, weights)
            made = _residual(torch, inside, sequential(torch, shortcut, weights))
        case networks.Relu():
            made = torch.nn.ReLU()
        case networks.MaxPool(kernel, stride, padding):
            made = torch.nn.MaxPool2d(kernel, stride, padding)
        case networks.GlobalPool():
            made = torch.nn.AdaptiveAvgPool2d(1)
        case networks.Flatten():
            made = torch.nn.Flatten()
    return made


def _fill(torch: Any, module: Any, *weights: np.ndarray) -> None:
    """Copy the weights into the module's parameters."""
    with torch.no_grad():
        for parameter, weight in zip(module.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(weight))


def _residual(torch: Any, body: Any, shortcut: Any) -> Any:
    class Sum(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.shortcut = body, shortcut

        def forward(self, x: Any) -> Any:
            return self.body(x) + self.shortcut(x)  # an empty Sequential is the identity

    return Sum()
