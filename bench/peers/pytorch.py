"""PyTorch eager: the operators that `batch_norm` and its autograd call; NCHW and channels_last."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import EPS, Data

from peers import Call, Peer


class PyTorch(Peer):
    name = "PyTorch"

    def __init__(self, threads: int, tuned: bool) -> None:
        import torch

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self._torch, self._tuned = torch, tuned

    def takes(self, data: Data) -> bool:
        return data.layout == "first" or data.x.ndim > 3  # there is no channels_last for NCL

    def calls(self, data: Data) -> dict[str, Call]:
        torch, aten = self._torch, self._torch.ops.aten
        x, dy = self.tensor(data.x, data), self.tensor(data.dy, data)
        weight, bias, mean, var = (
            torch.from_numpy(a)
            for a in (data.weight, data.bias, data.running_mean, data.running_var)
        )
        batch = (x, weight, bias, None, None, True, 0.1, EPS)
        running = (x, weight, bias, mean, var, False, 0.1, EPS)
        _, save_mean, save_rstd = aten.native_batch_norm(*batch)
        saved = (save_mean, save_rstd, True, EPS, [True, True, True])

        def backward() -> Any:  # it has no out= that does not copy
            return aten.native_batch_norm_backward(dy, x, weight, None, None, *saved)

        if not self._tuned or data.case.dtype == "bfloat16":
            return {
                "forward": lambda: aten.native_batch_norm(*batch),
                "backward": backward,
                "eval": lambda: aten.native_batch_norm(*running),
            }
        outs = {
            "out": torch.empty_like(x),
            "save_mean": torch.empty_like(save_mean),
            "save_invstd": torch.empty_like(save_rstd),
        }
        return {
            "forward": lambda: aten.native_batch_norm.out(*batch, **outs),
            "backward": backward,
            "eval": lambda: aten.native_batch_norm.out(*running, **outs),
        }

    def tensor(self, x: np.ndarray, data: Data) -> Any:
        """The array seen channels-first, without a copy: (N, H, W, C) becomes channels_last."""
        torch = self._torch
        if data.case.dtype == "bfloat16":
            tensor = torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(x)
        return tensor.movedim(-1, 1) if data.layout == "last" else tensor

    def arrays(self, op: str, result: Any, data: Data) -> tuple[np.ndarray, ...]:
        y = result[0].float() if data.case.dtype == "bfloat16" else result[0]  # NumPy has none
        y = (y.movedim(1, -1) if data.layout == "last" else y).numpy()
        return (y, *(a.numpy() for a in result[1:])) if op == "backward" else (y,)
