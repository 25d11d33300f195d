"""Derivatives that PyTorch finds for itself, where it follows more than the values of tensors.

A gradient may be a batch of gradients (``is_grads_batched=True``, the vectorized Jacobians of
``torch.autograd.functional``), or something else that only PyTorch's operations take. Then
PyTorch's own function is called once more, and autograd differentiates that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from bn.types import Doubles

Gradients = tuple["torch.Tensor | None", ...]
Normalization = Callable[..., torch.Tensor]  # of x, weight and bias


def batch_normalization(mean: Doubles, var: Doubles, training: bool, eps: float) -> Normalization:
    """PyTorch's batch normalization; outside of training with these statistics."""

    def normalization(
        x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None
    ) -> torch.Tensor:
        running: Any = (None, None)
        if not training:
            dtype = x.dtype if weight is None else weight.dtype
            running = (torch.from_numpy(each).to(dtype) for each in (mean, var))
        return torch.nn.functional.batch_norm(x, *running, weight, bias, training, 0.0, eps)

    return normalization


def sample_normalization(name: str, how: Any, eps: float) -> Normalization:
    """PyTorch's layer or group normalization."""
    function = getattr(torch.nn.functional, name)
    return lambda x, weight, bias: function(x, how, weight, bias, eps)


def first_order(
    normalization: Normalization, inputs: Sequence[torch.Tensor | None], dy: torch.Tensor
) -> Gradients:
    """The gradients of x, weight and bias."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        inputs = _apart(inputs)
        return _differentiated([normalization(*inputs)], inputs, [dy], again)


def second_order(
    normalization: Normalization,
    inputs: Sequence[torch.Tensor | None],
    dy: torch.Tensor,
    seconds: Sequence[torch.Tensor | None],
) -> Gradients:
    """The gradients of `first_order` with respect to dy, x, weight and bias.

    `seconds` are those of the gradients of x, weight and bias.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        sources = _apart([dy, *inputs])
        first = first_order(normalization, sources[1:], sources[0])
        return _differentiated(first, sources, seconds, again)


def _apart(tensors: Sequence[torch.Tensor | None]) -> list[Any]:
    """Views, which are differentiated by themselves where one tensor was computed from another."""
    return [None if t is None else t.view_as(t) for t in tensors]


def _differentiated(
    outputs: Sequence[torch.Tensor | None],
    inputs: Sequence[torch.Tensor | None],
    gradients: Sequence[torch.Tensor | None],
    again: bool,
) -> Gradients:
    """The gradients of the inputs; None for what there is not, or has none."""
    pairs = zip(outputs, gradients, strict=True)
    used = [(y, dy) for y, dy in pairs if y is not None and dy is not None]
    wanted = [place for place, x in enumerate(inputs) if x is not None and x.requires_grad]
    found = torch.autograd.grad(
        [y for y, _ in used],
        [inputs[place] for place in wanted],
        [dy for _, dy in used],
        create_graph=again,
        allow_unused=True,
    )
    by_place = dict(zip(wanted, found, strict=True))
    return tuple(by_place.get(place) for place in range(len(inputs)))
