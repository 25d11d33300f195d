"""The normalizations as functions of tensors, with gradients of first and second order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy import float32

from bn.torch import derivatives, passes
from bn.torch.arrays import alike, fits, plain, taken
from bn.torch.derivatives import Gradients
from bn.types import Doubles

THIRD = "bn.torch has gradients of first and second order, got a call for the third"


def implementation() -> Any:
    """What has the passes: operators where `torch.compile` makes a graph, else the passes."""
    return torch.ops.bn if torch.compiler.is_compiling() else passes


def differentiates(*tensors: torch.Tensor | None) -> bool:
    """Whether autograd must know of a call with these tensors."""
    if not torch.is_grad_enabled():
        return False
    return any([t.requires_grad for t in tensors if t is not None])


def as_parameter(
    gradient: torch.Tensor | Doubles | None, parameter: torch.Tensor | None
) -> torch.Tensor | None:
    """The gradient of an optional parameter, with its dtype; it may have none."""
    if gradient is None or parameter is None:
        return None
    if not isinstance(gradient, np.ndarray):
        return gradient.to(parameter.dtype)
    if parameter.dtype == torch.float32:  # NumPy converts faster than PyTorch
        return torch.from_numpy(gradient.astype(float32))
    return torch.from_numpy(gradient).to(parameter.dtype)


def given(tensors: Gradients) -> list[torch.Tensor]:
    """Those that are there."""
    return [t for t in tensors if t is not None]


class Refusal(torch.autograd.Function):
    """A value whose gradient is an error."""

    @staticmethod
    def forward(ctx: Any, message: str, value: torch.Tensor, *sources: torch.Tensor | None) -> Any:
        ctx.message = message
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Gradients:
        raise RuntimeError(ctx.message)


def final(message: str, values: Gradients, *sources: torch.Tensor | None) -> Gradients:
    """Gradients of the last order that there is; to differentiate them is an error.

    `once_differentiable` of PyTorch is not enough: ``torch.autograd.grad`` goes around its error
    where other paths lead to the sources, and then gives a part of the gradient.
    """
    if not torch.is_grad_enabled():
        return values
    return tuple(None if v is None else Refusal.apply(message, v, *sources) for v in values)


# ---- batch normalization ----


class BatchNormalization(torch.autograd.Function):
    """`passes.batch_norm` and its gradient.

    The settings, which have no gradients, are one argument, because each argument takes time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        residual: torch.Tensor | None,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        settings: tuple[Any, ...],
    ) -> Any:
        _, _, training, _, eps, activation = settings
        y, *moments = implementation().batch_norm(x, residual, weight, bias, *settings)
        needed = activation and (residual is not None or not training)
        ctx.save_for_backward(x, weight, bias, y if needed else None)
        ctx.moments, ctx.training, ctx.eps = moments, training, eps
        ctx.activation, ctx.added = activation, residual is not None
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Gradients:
        x, weight, bias, y = ctx.saved_tensors
        mean, var = ctx.moments
        settings = (mean, var, ctx.training, ctx.eps)
        if plain(dy) and not torch.is_grad_enabled():
            dx, g, dweight, dbias = implementation().batch_norm_backward(
                dy, x, weight, bias, y, *settings, ctx.activation, ctx.added
            )
        else:
            g = dy
            if ctx.activation:
                g = dy * active(x, weight, bias, y, mean, var, ctx.eps, ctx.activation)
            if plain(dy):  # for a second order
                found = BatchNormalizationGradient.apply(g, x, weight, bias, settings)
            else:
                theirs = derivatives.batch_normalization(*settings)
                found = derivatives.first_order(theirs, (x, weight, bias), g)
            dx, dweight, dbias = found
        dresidual = g if ctx.added else None
        return dx, dresidual, as_parameter(dweight, weight), as_parameter(dbias, bias), None


class BatchNormalizationGradient(torch.autograd.Function):
    """`passes.batch_norm_backward` without an activation, and its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        g: torch.Tensor,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        settings: tuple[Any, ...],
    ) -> Any:
        ctx.save_for_backward(g, x, weight, bias)
        ctx.settings = settings
        ctx.set_materialize_grads(False)
        mean, var, training, eps = settings
        dx, _, dweight, dbias = passes.batch_norm_backward(
            g, x, weight, None, None, mean, var, training, eps, None, False
        )
        return dx, torch.from_numpy(dweight), torch.from_numpy(dbias)

    @staticmethod
    def backward(ctx: Any, *second: torch.Tensor | None) -> Gradients:
        g, *inputs = ctx.saved_tensors
        if not all(map(plain, given(second))):
            theirs = derivatives.batch_normalization(*ctx.settings)
            return *derivatives.second_order(theirs, inputs, g, second), None
        x, weight, _ = inputs
        ddx, ddweight, ddbias = second
        found = passes.batch_norm_second(ddx, ddweight, ddbias, g, x, weight, *ctx.settings)
        return *final(THIRD, found, g, x, weight), None, None


def active(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    y: torch.Tensor | None,
    mean: Doubles,
    var: Doubles,
    eps: float,
    activation: str,
) -> torch.Tensor:
    """Where a ReLU or ReLU6 lets a gradient through."""
    with torch.no_grad():
        if y is None:
            moments = (torch.from_numpy(mean), torch.from_numpy(var))
            y = passes.batch_norm(x, None, weight, bias, *moments, False, 0.0, eps, activation)[0]
        return (y > 0) & (y < 6) if activation == "relu6" else y > 0


def takes_batch(
    x: torch.Tensor,
    vectors: tuple[torch.Tensor | None, torch.Tensor | None],
    running: tuple[torch.Tensor | None, torch.Tensor | None],
    training: bool,
    eps: float,
) -> bool:
    """Whether x can be normalized here: a tensor that the core takes, of which nothing is wrong.

    PyTorch computes the others, and finds the words for what is wrong.
    """
    if not taken(x) or x.ndim < 2:
        return False
    (weight, bias), (mean, var), channels = vectors, running, x.shape[1]
    enough = x.numel() > channels if training else mean is not None
    positive = eps > 0 if training else eps >= 0
    if not enough or not positive or (mean is None) != (var is None):
        return False
    shape = (channels,)
    return fits(weight, shape) and fits(bias, shape) and fits(mean, shape) and fits(var, shape)


def normalize(
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
) -> torch.Tensor:
    """``activation(batch_norm(x) + residual)``, where asked for: in one pass if possible."""
    vectors, running = (weight, bias), (running_mean, running_var)
    if not takes_batch(x, vectors, running, training, eps):
        y = torch.nn.functional.batch_norm(x, *running, *vectors, training, momentum, eps)
    elif residual is not None and not alike(residual, x):
        y = batch_norm(x, *running, *vectors, training, momentum, eps)
    else:
        settings = (*running, training, momentum, eps, activation)
        if differentiates(x, residual, weight, bias):
            return BatchNormalization.apply(x, residual, weight, bias, settings)
        return implementation().batch_norm(x, residual, weight, bias, *settings)[0]
    y = y if residual is None else y + residual
    return y if activation is None else getattr(torch.nn.functional, activation)(y)


def batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Batch normalization of a tensor, as ``torch.nn.functional.batch_norm``.

    ``y = (x - mean) / sqrt(var + eps) · weight + bias``. In training, mean and var (biased) are the
    batch's, and the running statistics, if given, are updated in place with the unbiased variance.
    In evaluation, mean and var are the running ones.

    Parameters
    ----------
    x : torch.Tensor, shape (N, C, ...)
        In any memory format. PyTorch computes what is not on a CPU, or neither float16, bfloat16,
        float32 nor float64.
    running_mean, running_var : torch.Tensor, shape (C,), or None
        Running statistics; both or neither.
    weight, bias : torch.Tensor, shape (C,), optional
        Scale and shift; None stands for 1 and 0.
    training : bool, default False
        Normalize with the batch's statistics and update the running ones.
    momentum : float, default 0.1
        The weight of the new value.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    torch.Tensor
        With the shape, dtype and memory format of x.

    Raises
    ------
    ValueError, RuntimeError
        Those of PyTorch.

    References
    ----------
    Ioffe & Szegedy, "Batch Normalization", 2015.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[1.0], [3.0]])
    >>> mean, var = torch.zeros(1), torch.ones(1)
    >>> batch_norm(x, mean, var, training=True)
    tensor([[-1.0000],
            [ 1.0000]])
    >>> mean, var
    (tensor([0.2000]), tensor([1.1000]))
    """
    running = (running_mean, running_var)
    return normalize(x, None, weight, bias, *running, training, momentum, eps, None)


# ---- layer and group normalization ----


class SampleNormalization(torch.autograd.Function):
    """A normalization whose statistics are a sample's own, and its gradient.

    `name` is that of the pass, and `how` its argument behind x: the shape of a row, or a number of
    groups.
    """

    @staticmethod
    def forward(ctx: Any, name: str, x: torch.Tensor, how: Any, *others: Any) -> Any:
        weight, bias, eps = others
        y, *moments = getattr(implementation(), name)(x, how, weight, bias, eps)
        ctx.save_for_backward(x, weight, bias)
        ctx.name, ctx.how, ctx.eps, ctx.moments = name, how, eps, moments
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Gradients:
        x, weight, bias = ctx.saved_tensors
        if not plain(dy):
            theirs = derivatives.sample_normalization(ctx.name, ctx.how, ctx.eps)
            found = derivatives.first_order(theirs, (x, weight, bias), dy)
        elif torch.is_grad_enabled():  # for a second order
            settings = (ctx.name, ctx.moments, ctx.how, ctx.eps)
            found = SampleNormalizationGradient.apply(dy, x, weight, bias, settings)
        else:
            gradients = getattr(implementation(), f"{ctx.name}_backward")
            found = gradients(dy, x, *ctx.moments, ctx.how, weight, ctx.eps)
        dx, dweight, dbias = found
        return None, dx, None, as_parameter(dweight, weight), as_parameter(dbias, bias), None


class SampleNormalizationGradient(torch.autograd.Function):
    """The backward pass of such a normalization, and its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        dy: torch.Tensor,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        settings: tuple[Any, ...],
    ) -> Any:
        name, moments, how, eps = settings
        ctx.save_for_backward(dy, x, weight, bias)
        ctx.name, ctx.how, ctx.eps = name, how, eps
        ctx.set_materialize_grads(False)
        gradients = getattr(passes, f"{name}_backward")
        dx, dweight, dbias = gradients(dy, x, *moments, how, weight, eps)
        return dx, torch.from_numpy(dweight), torch.from_numpy(dbias)

    @staticmethod
    def backward(ctx: Any, *second: torch.Tensor | None) -> Gradients:
        dy, *inputs = ctx.saved_tensors
        if not all(map(plain, given(second))):
            theirs = derivatives.sample_normalization(ctx.name, ctx.how, ctx.eps)
            return *derivatives.second_order(theirs, inputs, dy, second), None
        x, weight, _ = inputs
        gradients = getattr(passes, f"{ctx.name}_second")
        found = gradients(*second, dy, x, ctx.how, weight, ctx.eps)
        return *final(THIRD, found, dy, x, weight), None, None


def normalize_samples(
    name: str,
    x: torch.Tensor,
    how: Any,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
) -> torch.Tensor:
    """The pass of this name, on tensors that it takes."""
    if differentiates(x, weight, bias):
        return SampleNormalization.apply(name, x, how, weight, bias, eps)
    return getattr(implementation(), name)(x, how, weight, bias, eps)[0]


def layer_norm(
    x: torch.Tensor,
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Layer normalization of a tensor, as ``torch.nn.functional.layer_norm``.

    ``y = (x - mean) / sqrt(var + eps) · weight + bias``, where mean and var (biased) are those of
    the last axes of x, for each of the others.

    Parameters
    ----------
    x : torch.Tensor
        Its last axes have the lengths in `normalized_shape`.
    normalized_shape : sequence of int
        The lengths of the axes that are normalized.
    weight, bias : torch.Tensor, shape `normalized_shape`, optional
        Scale and shift; None stands for 1 and 0.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    torch.Tensor
        With the shape and the dtype of x, contiguous.

    Raises
    ------
    ValueError, RuntimeError
        Those of PyTorch.

    References
    ----------
    Ba, Kiros & Hinton, "Layer Normalization", 2016.

    Examples
    --------
    >>> import torch
    >>> layer_norm(torch.tensor([[1.0, 3.0], [10.0, 30.0]]), (2,), eps=0.0)
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    sizes = tuple(normalized_shape)
    fitting = taken(x) and 0 < len(sizes) < x.ndim and x.shape[x.ndim - len(sizes) :] == sizes
    if not fitting or eps < 0 or not all(fits(v, sizes) for v in (weight, bias)):
        return torch.nn.functional.layer_norm(x, normalized_shape, weight, bias, eps)
    return normalize_samples("layer_norm", x, sizes, weight, bias, eps)


def group_norm(
    x: torch.Tensor,
    num_groups: int,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Group normalization of a tensor, as ``torch.nn.functional.group_norm``.

    ``y = (x - mean) / sqrt(var + eps) · weight + bias``, where mean and var (biased) are those of
    C / num_groups adjoining channels of a sample.

    Parameters
    ----------
    x : torch.Tensor, shape (N, C, ...)
        In any memory format.
    num_groups : int
        Divides C.
    weight, bias : torch.Tensor, shape (C,), optional
        Scale and shift; None stands for 1 and 0.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    torch.Tensor
        With the shape, dtype and memory format of x.

    Raises
    ------
    ValueError, RuntimeError
        Those of PyTorch.

    References
    ----------
    Wu & He, "Group Normalization", 2018.

    Examples
    --------
    >>> import torch
    >>> group_norm(torch.tensor([[[1.0], [3.0], [10.0], [30.0]]]), 2, eps=0.0).ravel()
    tensor([-1.,  1., -1.,  1.])
    """
    fitting = taken(x) and x.ndim >= 2 and num_groups > 0 and x.shape[1] % num_groups == 0
    enough = fitting and x.numel() > x.shape[0] * num_groups  # more than one value in each group
    if not enough or eps < 0 or not all(fits(v, (x.shape[1],)) for v in (weight, bias)):
        return torch.nn.functional.group_norm(x, num_groups, weight, bias, eps)
    return normalize_samples("group_norm", x, num_groups, weight, bias, eps)
