"""oneDNN, through PyTorch's mkldnn tensors: training for images only, float32 and bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import EPS, Data

from peers import Call
from peers.pytorch import PyTorch


class OneDNN(PyTorch):
    name = "oneDNN"

    def takes(self, data: Data) -> bool:
        return data.layout == "first" and data.x.ndim == 4 and data.case.dtype != "float64"

    def calls(self, data: Data) -> dict[str, Call]:
        torch, aten = self._torch, self._torch.ops.aten
        x, dy = (self.tensor(a, data).to_mkldnn() for a in (data.x, data.dy))
        weight, bias, mean, var = (
            torch.from_numpy(a)
            for a in (data.weight, data.bias, data.running_mean, data.running_var)
        )
        momentum_eps = (0.1, EPS)
        _, save_mean, save_rstd = aten.native_batch_norm(
            x, weight, bias, mean.clone(), var.clone(), True, *momentum_eps
        )
        kept = (mean.clone(), var.clone())  # it insists on running statistics, and updates them
        saved = (*kept, save_mean, save_rstd, True, EPS, [True, True, True])
        return {
            "forward": lambda: aten.native_batch_norm(x, weight, bias, *kept, True, *momentum_eps),
            "backward": lambda: aten.native_batch_norm_backward(dy, x, weight, *saved),
            "eval": lambda: aten.native_batch_norm(
                x, weight, bias, mean, var, False, *momentum_eps
            ),
        }

    def arrays(self, op: str, result: Any, data: Data) -> tuple[np.ndarray, ...]:
        dense = tuple(a.to_dense() if a.is_mkldnn else a for a in result)
        return super().arrays(op, dense, data)
