"""The passes as operators of PyTorch, which `torch.compile` calls without looking into them.

A call through PyTorch's dispatcher takes longer. So code that is not compiled calls
`bn.torch.passes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bn.torch import passes

LIBRARY = torch.library.Library("bn", "DEF")
SCHEMAS = {
    "batch_norm": "(Tensor x, Tensor? residual, Tensor? weight, Tensor? bias, "
    "Tensor(a!)? running_mean, Tensor(b!)? running_var, bool training, float momentum, float eps, "
    "bool relu) -> (Tensor, Tensor, Tensor)",
    "batch_norm_backward": "(Tensor dy, Tensor x, Tensor? weight, Tensor? bias, Tensor? y, "
    "Tensor mean, Tensor var, bool training, float eps, bool relu, bool added) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    "layer_norm": "(Tensor x, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps) "
    "-> (Tensor, Tensor, Tensor)",
    "layer_norm_backward": "(Tensor dy, Tensor x, Tensor mean, Tensor m2, int[] normalized_shape, "
    "Tensor? weight, float eps) -> (Tensor, Tensor, Tensor)",
    "group_norm": "(Tensor x, int num_groups, Tensor? weight, Tensor? bias, float eps) "
    "-> (Tensor, Tensor, Tensor)",
    "group_norm_backward": "(Tensor dy, Tensor x, Tensor mean, Tensor m2, int num_groups, "
    "Tensor? weight, float eps) -> (Tensor, Tensor, Tensor)",
}


def doubles(x: torch.Tensor, *shape: int) -> torch.Tensor:
    return x.new_empty(shape, dtype=torch.float64)


def batch_norm(x: torch.Tensor, *others: Any) -> tuple[torch.Tensor, ...]:
    return torch.empty_like(x), doubles(x, x.shape[1]), doubles(x, x.shape[1])


def batch_norm_backward(
    dy: torch.Tensor, x: torch.Tensor, *others: Any
) -> tuple[torch.Tensor, ...]:
    g = torch.empty_like(x) if others[-1] else x.new_empty(0)
    return torch.empty_like(x), g, doubles(x, x.shape[1]), doubles(x, x.shape[1])


def layer_norm(x: torch.Tensor, sizes: Sequence[int], *others: Any) -> tuple[torch.Tensor, ...]:
    rows = x.shape[: x.ndim - len(sizes)].numel()
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    return y, doubles(x, rows), doubles(x, rows)


def layer_norm_backward(
    dy: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, m2: torch.Tensor, sizes: Sequence[int],
    *others: Any,
) -> tuple[torch.Tensor, ...]:  # fmt: skip
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    return dx, doubles(x, *sizes), doubles(x, *sizes)


def group_norm(x: torch.Tensor, num_groups: int, *others: Any) -> tuple[torch.Tensor, ...]:
    found = x.shape[0] * num_groups
    return torch.empty_like(x), doubles(x, found), doubles(x, found)


def group_norm_backward(
    dy: torch.Tensor, x: torch.Tensor, *others: Any
) -> tuple[torch.Tensor, ...]:
    return torch.empty_like(x), doubles(x, x.shape[1]), doubles(x, x.shape[1])


FAKES = (
    batch_norm, batch_norm_backward, layer_norm, layer_norm_backward, group_norm,
    group_norm_backward,
)  # fmt: skip

for fake in FAKES:
    LIBRARY.define(fake.__name__ + SCHEMAS[fake.__name__])
    LIBRARY.impl(fake.__name__, getattr(passes, fake.__name__), "CPU")
    torch.library.register_fake(f"bn::{fake.__name__}", fake, lib=LIBRARY)
