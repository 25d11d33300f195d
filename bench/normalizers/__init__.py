"""Who normalizes samples in `family.py`: a function each, from a case and threads to its calls.

A call is "forward" or "backward", and returns y, or dx and the gradients of weight and bias.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

CONTESTANTS = {
    "bn": "ours",
    "PyTorch": "pytorch",
    "JAX": "jax_jit",
    "ONNX Runtime": "onnx_runtime",
}


def load(name: str) -> Callable[..., Any]:
    """The function that makes a contestant's calls."""
    return importlib.import_module(f"normalizers.{CONTESTANTS[name]}").calls
