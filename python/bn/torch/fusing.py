"""What accelerated models call: a batch normalization, an addition and a ReLU in one pass.

Whether it may be one pass is looked at in each call, so that what was changed in a model afterwards
(another layer, a hook) counts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules.module import _has_any_global_hook as hooked_everywhere

from bn.torch.arrays import alike, taken
from bn.torch.modules import Batches

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def watched(module: torch.nn.Module) -> bool:
    """Whether hooks get what a layer gets, gives or propagates."""
    return any(getattr(module, name) for name in HOOKS) or hooked_everywhere()


def is_batch_norm(module: object) -> bool:
    """Whether it is a batch normalization that may do more in its pass."""
    return isinstance(module, Batches) and has_forward(module, Batches) and not watched(module)


def is_relu(module: object) -> bool:
    """Whether a layer is a ReLU that may be left out when its work is done."""
    plain = type(module) is torch.nn.ReLU and has_forward(module, torch.nn.ReLU)
    return plain and not watched(module)


def has_forward(module: Any, kind: Any) -> bool:
    """Whether a module's forward pass is that of a class, not one of a subclass or set later."""
    return getattr(module.forward, "__func__", None) is kind.forward


def batch_norm_relu(
    norm: torch.nn.Module, relu: torch.nn.Module | None, x: torch.Tensor
) -> torch.Tensor:
    """``relu(norm(x))``; without a ReLU layer, PyTorch's function."""
    if is_batch_norm(norm) and (relu is None or is_relu(relu)):
        return norm.then(x, relu=True)
    y = norm(x)
    return torch.relu(y) if relu is None else relu(y)


def batch_norm_add_relu(
    norm: torch.nn.Module,
    relu: torch.nn.Module | None,
    x: torch.Tensor,
    residual: torch.Tensor,
    in_place: bool,
) -> torch.Tensor:
    """``relu(norm(x) + residual)``; without a ReLU layer, PyTorch's function."""
    one_pass = is_batch_norm(norm) and (relu is None or is_relu(relu))
    if one_pass and taken(x) and alike(residual, x):
        return norm.then(x, residual, relu=True)
    y = norm(x)
    if in_place:
        y += residual  # with the dtype of y, whatever the residual has
    else:
        y = y + residual
    return torch.relu(y) if relu is None else relu(y)


def in_sequence(self: torch.nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """The forward pass of a Sequential."""
    layers = list(self)
    done = 0
    while done < len(layers):
        layer, *following = layers[done : done + 2]
        if following and is_relu(following[0]) and is_batch_norm(layer):
            x = layer.then(x, relu=True)
            done += 2
        else:
            x = layer(x)
            done += 1
    return x
