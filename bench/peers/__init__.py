"""The contestants: one small class in one file each, all with the interface of `Peer`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from cases import Data

Call = Callable[[], Any]

# name on the command line: module, class
PEERS = {
    "memcpy": ("memcpy", "Memcpy"),
    "bn": ("ours", "Ours"),
    "bn1": ("ours", "OursOneThread"),
    "numpy": ("numpy_lines", "NumPyLines"),
    "torch": ("pytorch", "PyTorch"),
    "onednn": ("onednn", "OneDNN"),
    "compile": ("compiled", "Compiled"),
    "jax": ("jax_jit", "Jax"),
    "tensorflow": ("tensorflow_fused", "TensorFlow"),
    "onnxruntime": ("onnx_runtime", "OnnxRuntime"),
}

# glibc keeps freed memory, and asks for huge pages: no allocation is ever fresh
_KEEP = 1 << 36
RECYCLED_MEMORY = {
    "GLIBC_TUNABLES": f"glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"
    f":glibc.malloc.mmap_threshold={_KEEP}:glibc.malloc.trim_threshold={_KEEP}",
    "THP_MEM_ALLOC_ENABLE": "1",  # PyTorch's own switch for huge pages
}


class Peer:
    """One contestant, alone in its process.

    Parameters
    ----------
    threads : int
        How many it may use.
    tuned : bool
        The second column: its process has `tuned_env`, and it writes into preallocated outputs
        where it can. Otherwise it runs as its users run it.
    """

    name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]] = ("plain", "tuned")
    tuned_env: ClassVar[dict[str, str]] = RECYCLED_MEMORY
    # wide: float32 sums of millions of values are imprecise, not wrong; how far off is recorded
    tolerance: ClassVar[dict[str, float]] = {"float64": 1e-10, "float32": 5e-3, "bfloat16": 3e-2}

    def __init__(self, threads: int, tuned: bool) -> None:
        raise NotImplementedError

    def takes(self, data: Data) -> bool:
        """Whether it has a kernel for this rank, dtype and layout."""
        raise NotImplementedError

    def calls(self, data: Data) -> dict[str, Call]:
        """What is timed, as many as it has: forward (training), backward, eval; fused forward,
        ``relu(forward + residual)``, and its backward, the sign from ``y = residual``.
        """
        raise NotImplementedError

    def arrays(self, op: str, result: Any, data: Data) -> tuple[np.ndarray, ...]:
        """What a call returned as NumPy arrays in `data`'s layout: y, or dx, dweight, dbias (and
        dresidual).
        """
        raise NotImplementedError


def load(name: str) -> type[Peer]:
    """The class of a contestant; what it measures is imported when it is made."""
    module, cls = PEERS[name]
    return getattr(importlib.import_module(f"peers.{module}"), cls)
