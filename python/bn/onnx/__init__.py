"""ONNX: its normalizations as functions with its names, and its files of models.

`export` and `load` need an extra, ``pip install '.[onnx]'``.

Examples
--------
>>> import numpy as np
>>> from bn import onnx
>>> zero, one = np.zeros(1), np.ones(1)
>>> onnx.BatchNormalization(np.array([[1.0], [3.0]]), one, zero, zero, one, epsilon=0.0)
array([[1.],
       [3.]])
"""

import importlib
from typing import TYPE_CHECKING, Any

from bn.onnx.operators import (
    BatchNormalization,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    RMSNormalization,
)

__all__ = [
    "BatchNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "RMSNormalization",
    "export",
    "load",
]

if TYPE_CHECKING:
    from bn.onnx.exporting import export
    from bn.onnx.loading import load
else:

    def __getattr__(name: str) -> Any:
        """Import what reads and writes files where somebody asks for it."""
        if name == "export":
            return importlib.import_module("bn.onnx.exporting").export
        if name == "load":
            return importlib.import_module("bn.onnx.loading").load
        raise AttributeError(f"module 'bn.onnx' has no attribute {name!r}")
