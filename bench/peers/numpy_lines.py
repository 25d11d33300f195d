"""Batch normalization as everybody writes it in NumPy first (NumPy has one thread for this)."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import EPS, Data

from peers import Call, Peer


class NumPyLines(Peer):
    name = "NumPy"

    def __init__(self, threads: int, tuned: bool) -> None:
        pass

    def takes(self, data: Data) -> bool:
        return data.case.dtype != "bfloat16"  # its mean would be taken in bfloat16

    def calls(self, data: Data) -> dict[str, Call]:
        x, dy = data.x, data.dy
        axes = tuple(i for i in range(x.ndim) if i != data.axis % x.ndim)
        shape = [1] * x.ndim
        shape[data.axis] = -1
        weight, bias, running_mean, running_var = (
            a.reshape(shape) for a in (data.weight, data.bias, data.running_mean, data.running_var)
        )
        batch_mean = x.mean(axes, keepdims=True)
        batch_rstd = 1 / np.sqrt(x.var(axes, keepdims=True) + EPS)

        def normalize(mean: np.ndarray, var: np.ndarray) -> np.ndarray:
            x_hat = (x - mean) / np.sqrt(var + EPS)
            return x_hat * weight + bias

        def forward() -> np.ndarray:
            return normalize(x.mean(axes, keepdims=True), x.var(axes, keepdims=True))

        def backward() -> tuple[np.ndarray, ...]:
            count = x.size // weight.size
            x_hat = (x - batch_mean) * batch_rstd
            dbias = dy.sum(axes, keepdims=True)
            dweight = (dy * x_hat).sum(axes, keepdims=True)
            dx = weight * batch_rstd * (dy - dbias / count - x_hat * (dweight / count))
            return dx, dweight.ravel(), dbias.ravel()

        return {
            "forward": forward,
            "backward": backward,
            "eval": lambda: normalize(running_mean, running_var),
        }

    def arrays(self, op: str, result: Any, data: Data) -> tuple[np.ndarray, ...]:
        return result if op == "backward" else (result,)
