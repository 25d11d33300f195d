"""`bn.nn`: compiled by `bn.compile`, folded by `bn.fold`, and as it was trained."""

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
        self.trained = model.eval()
        self._prepare(network)

    def _prepare(self, network: Network) -> None:
        self.model = bn.compile(self.trained, network.image)

    def save(self, folder: Path) -> None:
        nn.save(folder / "model.npz", self.trained)

    def load(self, network: Network, folder: Path) -> None:
        self.trained = sequential(network.layers, iter(networks.weights(network))).eval()
        nn.load(folder / "model.npz", self.trained)
        self._prepare(network)

    def predict(self, images: np.ndarray) -> np.ndarray:
        with nn.no_grad():
            return self.model(images)


class Folded(Ours):
    name = "bn folded"

    def _prepare(self, network: Network) -> None:
        self.model = bn.fold(self.trained, network.image).model


class AsTrained(Ours):
    name = "bn as trained"

    def _prepare(self, network: Network) -> None:
        self.model = self.trained
