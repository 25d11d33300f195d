"""The contestants of `inference.py`: one small class each, with the interface of `Predictor`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from networks import Network

# key: module, class
PREDICTORS = {
    "bn": ("ours", "Ours"),
    "bn-folded": ("ours", "Folded"),
    "bn-as-trained": ("ours", "AsTrained"),
    "torch": ("pytorch", "PyTorch"),
    "torch-last": ("pytorch", "PyTorchLast"),
    "onnxruntime": ("ort", "OnnxRuntime"),
}


class Predictor:
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

    def build(self, network: Network, weights: list[np.ndarray]) -> None:
        """Make the network, ready to predict, with these weights and `networks.statistics`."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write what a new process needs to predict."""
        raise NotImplementedError

    def load(self, network: Network, folder: Path) -> None:
        """Read it."""
        raise NotImplementedError

    def put(self, images: np.ndarray) -> Any:
        """Images in the library's form."""
        return images

    def predict(self, images: Any) -> np.ndarray:
        """What the network makes of them."""
        raise NotImplementedError


def load(key: str) -> type[Predictor]:
    """The class of a contestant; its library is imported when it is made."""
    module, cls = PREDICTORS[key]
    return getattr(importlib.import_module(f"predictors.{module}"), cls)
