"""The forward and backward passes on tensors, which know nothing of autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy import float64

from bn._core import core
from bn.double_backward import batch_norm_double_backward
from bn.functional import epilogue_of
from bn.groups import Groups
from bn.rows import Rows, stats_of
from bn.sample_double_backward import group_norm_double_backward, layer_norm_double_backward
from bn.statistics import Stats
from bn.torch.arrays import array_of, optional_array, tensor_of, vector_of
from bn.torch.team import on_team
from bn.types import Array, Doubles

PROPAGATE = 2  # what a batch that is not finite does to running statistics, as in PyTorch
Normalized = tuple[torch.Tensor, Doubles, Doubles]  # and its moments
Three = tuple[torch.Tensor, Doubles, Doubles]


# ---- batch normalization ----


@on_team
def batch_norm(
    x: torch.Tensor,
    residual: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    activation: str | None,
) -> Normalized:
    """``y = (x - mean) / sqrt(var + eps) · weight + bias``, and mean and var as float64.

    Then the residual is added, and the activation applied. In training the running statistics
    change.
    """
    a, added = array_of(x), optional_array(residual)
    parameters = (
        vector_of(weight),
        vector_of(bias),
        eps,
        None,
        added,
        *epilogue_of(activation, 0.0),
    )
    if training:
        y, count, mean, m2 = core.forward(a, 1, *parameters)
        if running_mean is not None and running_var is not None:
            update(running_mean, running_var, (count, mean, m2), momentum)
        var = m2 / count
    else:
        mean, var = (np.array(vector_of(v), float64) for v in (running_mean, running_var))
        y = core.normalize(a, 1, mean, var, *parameters)
    return tensor_of(y, x.dtype), mean, var


def update(
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    moments: tuple[Doubles, Doubles, Doubles],
    momentum: float,
) -> None:
    """Let count, mean and m2 of a batch enter running statistics, with the unbiased variance."""
    mean, var = vector_of(running_mean), vector_of(running_var)
    assert mean is not None and var is not None
    core.commit(mean, var, *moments, momentum, True, PROPAGATE)
    if running_mean.dtype.itemsize == 2:  # the arrays are copies
        running_mean.copy_(torch.from_numpy(mean))
        running_var.copy_(torch.from_numpy(var))
    else:
        torch.autograd.graph.increment_version([running_mean, running_var])


@on_team
def batch_norm_backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    y: torch.Tensor | None,
    mean: Doubles,
    var: Doubles,
    training: bool,
    eps: float,
    activation: str | None,
    added: bool,
) -> tuple[torch.Tensor, torch.Tensor, Doubles, Doubles]:
    """The gradients of x, of the residual, of weight and of bias.

    y is that of the forward pass. It may be missing in training, where the sign of what was
    activated follows from x if nothing was added. The second result counts with `added` only.
    """
    a, scale = array_of(x), vector_of(weight)
    g = dy
    if training:
        shift = vector_of(bias) if activation else None
        activated = array_of(y) if activation and y is not None else None
        dresidual = core.empty_like(a) if added else None
        count = np.full(mean.size, a.size / mean.size)
        constants = (mean, var, scale, shift, eps, count, None, activated, dresidual)
        epilogue = epilogue_of(activation, 0.0)
        dx, sum_dy, sum_dy_xmu = core.backward(array_of(dy), a, 1, *constants, *epilogue)
        if dresidual is not None:
            g = tensor_of(dresidual, x.dtype)
    else:
        if activation == "relu":
            g = torch.ops.aten.threshold_backward(dy, y, 0)
        if activation == "relu6":
            g = torch.ops.aten.hardtanh_backward(dy, y, 0, 6)
        zero, target = np.zeros(mean.size), core.empty_like(a)
        dx = core.normalize(array_of(g), 1, zero, var, scale, None, eps, target)
        sum_dy, sum_dy_xmu = core.reduce(array_of(g), a, 1, mean)
    return tensor_of(dx, x.dtype), g, sum_dy_xmu * core.rstd(var, eps), sum_dy


def batch_norm_second(
    ddx: torch.Tensor | None,
    ddweight: torch.Tensor | None,
    ddbias: torch.Tensor | None,
    dy: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor | None,
    mean: Doubles,
    var: Doubles,
    training: bool,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The gradients of the backward pass with respect to dy, x and weight."""
    ddy, dx, dweight = batch_norm_double_backward(
        optional_wide(ddx), vector_of(ddweight), vector_of(ddbias), wide(dy), wide(x),
        mean, var, vector_of(weight), eps, training,
    )  # fmt: skip
    return like(ddy, x), like(dx, x), None if dweight is None else like(dweight, weight)


# ---- layer and group normalization ----


@on_team
def layer_norm(
    x: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
) -> Normalized:
    """y, and mean and m2 of each row as float64."""
    rows = Rows(math.prod(normalized_shape))
    y, batch = rows.forward(array_of(x), vector_of(weight), vector_of(bias), eps)
    return tensor_of(y, x.dtype), batch.mean, batch.m2


@on_team
def layer_norm_backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    mean: Doubles,
    m2: Doubles,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None,
    eps: float,
) -> Three:
    """The gradients of x, weight and bias."""
    rows = Rows(math.prod(normalized_shape))
    found = rows.backward(
        array_of(dy), array_of(x), batch_of(x, mean, m2), vector_of(weight), None, eps
    )
    shape = tuple(normalized_shape)
    return tensor_of(found.dx, x.dtype), found.dweight.reshape(shape), found.dbias.reshape(shape)


def layer_norm_second(
    ddx: torch.Tensor | None,
    ddweight: torch.Tensor | None,
    ddbias: torch.Tensor | None,
    dy: torch.Tensor,
    x: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The gradients of the backward pass with respect to dy, x and weight."""
    ddy, dx, dweight = layer_norm_double_backward(
        optional_wide(ddx), vector_of(ddweight), vector_of(ddbias), wide(dy), wide(x),
        tuple(normalized_shape), vector_of(weight), eps,
    )  # fmt: skip
    return like(ddy, x), like(dx, x), None if dweight is None else like(dweight, weight)


@on_team
def group_norm(
    x: torch.Tensor,
    num_groups: int,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
) -> Normalized:
    """y, and mean and m2 of each group of each sample as float64."""
    groups = Groups(num_groups, 1)
    y, batch = groups.forward(array_of(x), vector_of(weight), vector_of(bias), eps)
    return tensor_of(y, x.dtype), batch.mean, batch.m2


@on_team
def group_norm_backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    mean: Doubles,
    m2: Doubles,
    num_groups: int,
    weight: torch.Tensor | None,
    eps: float,
) -> Three:
    """The gradients of x, weight and bias."""
    groups = Groups(num_groups, 1)
    found = groups.backward(
        array_of(dy), array_of(x), batch_of(x, mean, m2), vector_of(weight), None, eps
    )
    return tensor_of(found.dx, x.dtype), found.dweight, found.dbias


def group_norm_second(
    ddx: torch.Tensor | None,
    ddweight: torch.Tensor | None,
    ddbias: torch.Tensor | None,
    dy: torch.Tensor,
    x: torch.Tensor,
    num_groups: int,
    weight: torch.Tensor | None,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """The gradients of the backward pass with respect to dy, x and weight."""
    ddy, dx, dweight = group_norm_double_backward(
        optional_wide(ddx), vector_of(ddweight), vector_of(ddbias), wide(dy), wide(x),
        num_groups, vector_of(weight), eps,
    )  # fmt: skip
    return like(ddy, x), like(dx, x), None if dweight is None else like(dweight, weight)


# ---- conversions ----


def batch_of(x: torch.Tensor, mean: Doubles, m2: Doubles) -> Stats:
    """Statistics of equally many values of x each."""
    return stats_of(np.full(mean.size, x.numel() / mean.size), mean, m2)


def wide(x: torch.Tensor) -> Array:
    """Values as float32 or float64: the second order adds terms that half precision would round."""
    return array_of(x.float() if x.dtype.itemsize == 2 else x)


def optional_wide(x: torch.Tensor | None) -> Array | None:
    return None if x is None else wide(x)


def like(values: Array, x: torch.Tensor | None) -> torch.Tensor:
    """Values as a tensor with the dtype of x."""
    assert x is not None
    return torch.from_numpy(values).to(x.dtype)
