"""PyTorch eager: the operators that its layers and their autograd call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from samples import EPS, Data


def calls(data: Data, threads: int) -> dict[str, Callable[[], Any]]:
    torch.set_num_threads(threads)
    aten = torch.ops.aten
    x, dy, weight, bias = (torch.from_numpy(a) for a in (data.x, data.dy, data.weight, data.bias))
    shape, wanted = [len(weight)], [True, True, True]
    if data.kind == "LayerNorm":
        _, mean, rstd = aten.native_layer_norm(x, shape, weight, bias, EPS)
        return {
            "forward": lambda: aten.native_layer_norm(x, shape, weight, bias, EPS)[0],
            "backward": lambda: aten.native_layer_norm_backward(
                dy, x, shape, mean, rstd, weight, bias, wanted
            ),
        }
    if data.kind == "RMSNorm":
        x, weight = x.requires_grad_(), weight.requires_grad_()
        y = torch.nn.functional.rms_norm(x, shape, weight, EPS)

        def backward() -> Any:
            return torch.autograd.grad(y, (x, weight), dy, retain_graph=True)

        def forward() -> Any:
            return torch.nn.functional.rms_norm(x, shape, weight, EPS).detach()

        return {"forward": forward, "backward": backward}
    n, c = x.shape[:2]
    sizes = (n, c, x.numel() // (n * c), data.groups)
    if data.kind == "GroupNorm":
        _, mean, rstd = aten.native_group_norm(x, weight, bias, *sizes, EPS)
        return {
            "forward": lambda: aten.native_group_norm(x, weight, bias, *sizes, EPS)[0],
            "backward": lambda: aten.native_group_norm_backward(
                dy, x, mean, rstd, weight, *sizes, wanted
            ),
        }
    x, weight, bias = x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()

    def instance_norm() -> Any:
        return torch.nn.functional.instance_norm(x, None, None, weight, bias, eps=EPS)

    y = instance_norm()
    return {
        "forward": lambda: instance_norm().detach(),
        "backward": lambda: torch.autograd.grad(y, (x, weight, bias), dy, retain_graph=True),
    }
