"""What accelerated models call: a batch normalization, an addition and an activation in one pass.

Whether it may be one pass is looked at in each call, so that what was changed in a model afterwards
(another layer, a hook) counts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules.module import _has_any_global_hook as hooked_everywhere

from bn.torch.arrays import alike, taken
from bn.torch.modules import Batches

ACTIVATIONS = {torch.nn.ReLU: "relu", torch.nn.ReLU6: "relu6"}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def watched(module: torch.nn.Module) -> bool:
    """Whether hooks get what a layer gets, gives or propagates."""
    return any(getattr(module, name) for name in HOOKS) or hooked_everywhere()


def is_batch_norm(module: object) -> bool:
    """Whether it is a batch normalization that may do more in its pass."""
    return isinstance(module, Batches) and has_forward(module, Batches) and not watched(module)


def activation_of(after: object) -> str | None:
    """The name of an activation that a batch normalization may apply in its pass; None for others.

    It is that of a layer, which may be left out when its work is done, or the name of a function.
    """
    if isinstance(after, str):
        return after
    if not isinstance(after, torch.nn.Module) or watched(after):
        return None
    kind = type(after)
    if kind not in ACTIVATIONS or not has_forward(after, kind):
        return None
    changed = isinstance(after, torch.nn.ReLU6) and (after.min_val, after.max_val) != (0.0, 6.0)
    return None if changed else ACTIVATIONS[kind]


def has_forward(module: Any, kind: Any) -> bool:
    """Whether a module's forward pass is that of a class, not one of a subclass or set later."""
    return getattr(module.forward, "__func__", None) is kind.forward


def activated(after: torch.nn.Module | str, y: torch.Tensor) -> torch.Tensor:
    """What an activation makes of y."""
    if isinstance(after, str):
        result: torch.Tensor = getattr(torch.nn.functional, after)(y)
        return result
    return after(y)


def batch_norm_activation(
    norm: torch.nn.Module, after: torch.nn.Module | str, x: torch.Tensor
) -> torch.Tensor:
    """``after(norm(x))``, where `after` is a layer or the name of one of PyTorch's functions."""
    activation = activation_of(after)
    if activation is not None and is_batch_norm(norm):
        return norm.then(x, activation=activation)
    return activated(after, norm(x))


def batch_norm_add_activation(
    norm: torch.nn.Module,
    after: torch.nn.Module | str,
    x: torch.Tensor,
    residual: torch.Tensor,
    in_place: bool,
) -> torch.Tensor:
    """``after(norm(x) + residual)``, where `after` is a layer or the name of a function."""
    activation = activation_of(after)
    one_pass = activation is not None and is_batch_norm(norm)
    if one_pass and taken(x) and alike(residual, x):
        return norm.then(x, residual, activation)
    y = norm(x)
    if in_place:
        y += residual  # with the dtype of y, whatever the residual has
    else:
        y = y + residual
    return activated(after, y)


def in_sequence(self: torch.nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """The forward pass of a Sequential."""
    layers = list(self)
    done = 0
    while done < len(layers):
        layer, *following = layers[done : done + 2]
        activation = activation_of(following[0]) if following else None
        if activation is not None and is_batch_norm(layer):
            x = layer.then(x, activation=activation)
            done += 2
        else:
            x = layer(x)
            done += 1
    return x
