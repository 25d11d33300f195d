"""The passes as operators of PyTorch, which `torch.compile` calls without looking into them.

A call through PyTorch's dispatcher takes longer. So code that is not compiled calls
`bn.torch.passes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from bn.torch import passes

LIBRARY = torch.library.Library("bn", "DEF")
SCHEMAS = {
    "batch_norm": "(Tensor x, Tensor? residual, Tensor? weight, Tensor? bias, "
    "Tensor(a!)? running_mean, Tensor(b!)? running_var, bool training, float momentum, float eps, "
    "str? activation) -> (Tensor, Tensor, Tensor)",
    "batch_norm_backward": "(Tensor dy, Tensor x, Tensor? weight, Tensor? bias, Tensor? y, "
    "Tensor mean, Tensor var, bool training, float eps, str? activation, bool added) "
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


Tensors = tuple[torch.Tensor, ...]


# ---- what they return, without values ----


def doubles(x: torch.Tensor, *shape: int) -> torch.Tensor:
    return x.new_empty(shape, dtype=torch.float64)


def fake_batch_norm(x: torch.Tensor, *others: Any) -> Tensors:
    return torch.empty_like(x), doubles(x, x.shape[1]), doubles(x, x.shape[1])


def fake_batch_norm_backward(dy: torch.Tensor, x: torch.Tensor, *others: Any) -> Tensors:
    g = torch.empty_like(x) if others[-1] else x.new_empty(0)
    return torch.empty_like(x), g, doubles(x, x.shape[1]), doubles(x, x.shape[1])


def fake_layer_norm(x: torch.Tensor, sizes: Sequence[int], *others: Any) -> Tensors:
    rows = x.shape[: x.ndim - len(sizes)].numel()
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    return y, doubles(x, rows), doubles(x, rows)


def fake_layer_norm_backward(dy: torch.Tensor, x: torch.Tensor, *others: Any) -> Tensors:
    sizes = others[2]
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    return dx, doubles(x, *sizes), doubles(x, *sizes)


def fake_group_norm(x: torch.Tensor, num_groups: int, *others: Any) -> Tensors:
    found = x.shape[0] * num_groups
    return torch.empty_like(x), doubles(x, found), doubles(x, found)


def fake_group_norm_backward(dy: torch.Tensor, x: torch.Tensor, *others: Any) -> Tensors:
    return torch.empty_like(x), doubles(x, x.shape[1]), doubles(x, x.shape[1])


# ---- what they compute ----


def as_promised(result: torch.Tensor, promised: torch.Tensor) -> torch.Tensor:
    """A result with the strides that compiled code was promised, which relies on them."""
    if result.stride() == promised.stride():
        return result
    return torch.empty_strided(result.shape, promised.stride(), dtype=result.dtype).copy_(result)


def forward(normalize: Callable[..., Any], fake: Callable[..., Tensors]) -> Callable[..., Tensors]:
    """A forward pass with its moments as tensors."""

    def operator(x: torch.Tensor, *others: Any) -> Tensors:
        y, *moments = normalize(x, *others)
        promised = fake(x.to("meta"), *others)
        return as_promised(y, promised[0]), *map(torch.from_numpy, moments)

    return operator


def batch_norm_backward(*arguments: Any) -> Tensors:
    dy, *others = arguments
    others[4:6] = (moment.numpy() for moment in others[4:6])
    gradients: Any = passes.batch_norm_backward
    dx, g, dweight, dbias = gradients(dy, *others)
    promised = torch.empty_like(others[0], device="meta")
    if not others[-1]:  # no residual was added
        g = dy.new_empty(0)
    elif g is dy:
        g = as_promised(dy.clone(), promised)
    else:
        g = as_promised(g, promised)
    return as_promised(dx, promised), g, *map(torch.from_numpy, (dweight, dbias))


def backward(gradients: Callable[..., Any], fake: Callable[..., Tensors]) -> Callable[..., Tensors]:
    """A backward pass that takes its moments as tensors."""

    def operator(dy: torch.Tensor, x: torch.Tensor, *others: Any) -> Tensors:
        mean, m2, *settings = others
        dx, dweight, dbias = gradients(dy, x, mean.numpy(), m2.numpy(), *settings)
        promised = fake(dy, x.to("meta"), *others)
        return as_promised(dx, promised[0]), *map(torch.from_numpy, (dweight, dbias))

    return operator


OPERATORS = {
    "batch_norm": (forward(passes.batch_norm, fake_batch_norm), fake_batch_norm),
    "batch_norm_backward": (batch_norm_backward, fake_batch_norm_backward),
    "layer_norm": (forward(passes.layer_norm, fake_layer_norm), fake_layer_norm),
    "layer_norm_backward": (
        backward(passes.layer_norm_backward, fake_layer_norm_backward),
        fake_layer_norm_backward,
    ),
    "group_norm": (forward(passes.group_norm, fake_group_norm), fake_group_norm),
    "group_norm_backward": (
        backward(passes.group_norm_backward, fake_group_norm_backward),
        fake_group_norm_backward,
    ),
}

for name, (function, fake) in OPERATORS.items():
    LIBRARY.define(name + SCHEMAS[name])
    LIBRARY.impl(name, function, "CPU")
    torch.library.register_fake(f"bn::{name}", fake, lib=LIBRARY)
