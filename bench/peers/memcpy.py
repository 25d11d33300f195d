"""The yardstick: copying the tensor into existing memory, every way there is.

The report takes the fastest of them in each row.
"""

from __future__ import annotations

import ctypes
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from cases import Data

from peers import Call, Peer


class Memcpy(Peer):
    name = "memcpy"
    columns = ("plain",)

    def __init__(self, threads: int, tuned: bool) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads)
        try:
            import torch
        except ImportError:
            self._torch = None
        else:
            torch.set_num_threads(threads)
            self._torch = torch

    def takes(self, data: Data) -> bool:
        return data.layout == "first"  # the bytes are the same

    def calls(self, data: Data) -> dict[str, Call]:
        source = data.x.reshape(-1).view(np.uint8)
        target = np.zeros_like(source)
        edges = [len(source) * i // self._threads for i in range(self._threads + 1)]
        parts = [
            (target.ctypes.data + a, source.ctypes.data + a, b - a)
            for a, b in itertools.pairwise(edges)
        ]
        result = target.view(data.x.dtype).reshape(data.x.shape)

        def alone() -> np.ndarray:
            np.copyto(target, source)
            return result

        def together() -> np.ndarray:
            others = [self._pool.submit(ctypes.memmove, *part) for part in parts[1:]]
            ctypes.memmove(*parts[0])
            for other in others:
                other.result()
            return result

        calls = {"copy, 1 thread": alone, f"copy, {self._threads} Python threads": together}
        if self._torch is not None:
            words = np.uint8 if len(source) % 4 else np.float32
            into, out_of = (self._torch.from_numpy(a.view(words)) for a in (target, source))

            def openmp() -> np.ndarray:
                into.copy_(out_of)
                return result

            calls["copy, PyTorch's copy_"] = openmp
        return calls

    def arrays(self, op: str, result: Any, data: Data) -> tuple[np.ndarray, ...]:
        return (result,)
