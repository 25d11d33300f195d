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

        residual, relu_backward = self.tensor(data.residual, data), aten.threshold_backward

        def fused_forward() -> Any:
            return ((aten.native_batch_norm(*batch)[0] + residual).relu_(),)

        def fused_backward() -> Any:
            g = relu_backward(dy, residual, 0)
            return (*aten.native_batch_norm_backward(g, x, weight, None, None, *saved), g)

        fused = {"fused forward": fused_forward, "fused backward": fused_backward}

        def backward() -> Any:  # it has no out= that does not copy
            return aten.native_batch_norm_backward(dy, x, weight, None, None, *saved)

        if not self._tuned or data.case.dtype == "bfloat16":
            return {
                "forward": lambda: aten.native_batch_norm(*batch),
                "backward": backward,
                "eval": lambda: aten.native_batch_norm(*running),
                **fused,
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
        return tuple(
            self.array(a, data) for a in (result if op.endswith("backward") else result[:1])
        )

    def array(self, tensor: Any, data: Data) -> np.ndarray:
        """A NumPy array in `data`'s layout."""
        tensor = tensor.float() if data.case.dtype == "bfloat16" else tensor  # NumPy has none
        last = data.layout == "last" and tensor.ndim > 1
        return (tensor.movedim(1, -1) if last else tensor).numpy()
