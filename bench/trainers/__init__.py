"""The contestants of `train_step.py`: one small class each, all with the interface of `Trainer`."""

from __future__ import annotations

import importlib
from typing import ClassVar

import numpy as np
from networks import Network

# key: module, class
TRAINERS = {
    "bn": ("ours", "Ours"),
    "bn1": ("ours", "OursOneThread"),
    "bn-unfused": ("ours", "OursUnfused"),
    "bn-direct": ("ours", "OursDirect"),
    "torch": ("pytorch", "PyTorch"),
    "torch-last": ("pytorch", "PyTorchLast"),
    "keras-tensorflow": ("keras3", "KerasTensorFlow"),
    "keras-jax": ("keras3", "KerasJax"),
    "keras-torch": ("keras3", "KerasTorch"),
}

Batch = tuple[np.ndarray, np.ndarray]  # images (N, C, H, W), classes (N,)


class Trainer:
    """One contestant, alone in its process.

    Parameters
    ----------
    threads : int
        How many it may use.
    """

    name: ClassVar[str]
    environment: ClassVar[dict[str, str]] = {}  # of its process

    def __init__(self, threads: int) -> None:
        raise NotImplementedError

    def build(self, network: Network, weights: list[np.ndarray], batches: list[Batch]) -> None:
        """Make the network with these weights, and put the batches into the library's form."""
        raise NotImplementedError

    def step(self, number: int) -> float:
        """Train with batch `number`, and return the loss that it had before."""
        raise NotImplementedError


def load(key: str) -> type[Trainer]:
    """The class of a contestant; its library is imported when it is made."""
    module, cls = TRAINERS[key]
    return getattr(importlib.import_module(f"trainers.{module}"), cls)
