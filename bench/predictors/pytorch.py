"""PyTorch eager in inference mode, in both of its memory formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networks
import numpy as np
from networks import Network
from trainers.pytorch import sequential

from predictors import Predictor


class PyTorch(Predictor):
    name = "PyTorch"
    last = False

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._torch = torch
        self._form = torch.channels_last if self.last else torch.contiguous_format

    def build(self, network: Network, weights: list[np.ndarray]) -> None:
        torch = self._torch
        self.model = sequential(torch, network.layers, iter(weights)).eval()
        for layer in self.model.modules():
            if hasattr(layer, "running_mean"):
                mean, var = networks.statistics(len(layer.running_mean))
                layer.running_mean.copy_(torch.from_numpy(mean))
                layer.running_var.copy_(torch.from_numpy(var))
        self.model = self.model.to(memory_format=self._form)

    def save(self, folder: Path) -> None:
        self._torch.save(self.model.state_dict(), folder / "model.pt")

    def load(self, network: Network, folder: Path) -> None:
        self.build(network, networks.weights(network))
        self.model.load_state_dict(self._torch.load(folder / "model.pt"))

    def put(self, images: np.ndarray) -> Any:
        return self._torch.tensor(images).contiguous(memory_format=self._form)

    def predict(self, images: Any) -> np.ndarray:
        with self._torch.inference_mode():
            return self.model(images).numpy()


class PyTorchLast(PyTorch):
    name = "PyTorch cl"
    last = True
