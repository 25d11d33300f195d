"""`bn.nn`: folded by `bn.fold`, and as it was trained."""

from __future__ import annotations

from pathlib import Path

import networks
import numpy as np
from networks import Network
from trainers.ours import sequential

import bn
from bn import nn
from predictors import Predictor


class Ours(Predictor):
    name = "bn"

    def __init__(self, threads: int) -> None:
        bn.set_num_threads(threads)

    def build(self, network: Network, weights: list[np.ndarray]) -> None:
        model = sequential(network.layers, iter(weights))
        for layer in model.modules():
            if isinstance(layer, bn.BatchNorm):
                layer.set_running(*networks.statistics(layer.num_features))
        self.model = self._prepared(model.eval(), network)

    def _prepared(self, model: nn.Module, network: Network) -> nn.Module:
        return bn.fold(model, network.image).model

    def save(self, folder: Path) -> None:
        nn.save(folder / "model.npz", self.model)

    def load(self, network: Network, folder: Path) -> None:
        self.build(network, networks.weights(network))
        nn.load(folder / "model.npz", self.model)

    def predict(self, images: np.ndarray) -> np.ndarray:
        with nn.no_grad():
            return self.model(images)


class Unfolded(Ours):
    name = "bn unfolded"

    def _prepared(self, model: nn.Module, network: Network) -> nn.Module:
        return model
