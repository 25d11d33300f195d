"""Layers and models of PyTorch in a comparison."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from bn.convert import from_torch
from bn.explaining.results import Results
from bn.explaining.seen import Run, Seen, setting_by
from bn.types import Array

if TYPE_CHECKING:
    import torch


def run_torch(model: torch.nn.Module, x: Array, training: bool | None) -> Run:
    """Run a copy of a layer or model of PyTorch."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    twin = copy.deepcopy(model)
    if training is not None:
        twin.train(training)
    seen: list[Seen] = []
    settings: list[Any] = []

    def before(layer: Any, inputs: Any) -> None:
        settings.append(setting_by(from_torch, inputs[0].ndim, layer))

    def behind(path: str) -> Any:
        def note(layer: Any, inputs: Any, y: Any) -> None:
            running = (_array(layer.running_mean), _array(layer.running_var))
            x = _array(inputs[0])
            seen.append(Seen(path, settings.pop(), x, Results(_array(y), *running)))

        return note

    for path, layer in twin.named_modules():
        if isinstance(layer, _BatchNorm):
            layer.register_forward_pre_hook(before)
            layer.register_forward_hook(behind(path or type(layer).__name__))
    with torch.no_grad():
        y = _array(twin(torch.tensor(x)))
    return Run(y, seen)


def _array(tensor: Any) -> Any:
    return None if tensor is None else np.array(tensor.detach())
