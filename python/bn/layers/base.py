"""The one batch normalization layer; the families add names, defaults and conventions to it."""

from __future__ import annotations

from typing import ClassVar

from numpy.typing import DTypeLike

from bn import _check
from bn._module import Array, Module, Parameter, Shape
from bn.functional import (
    Stats,
    backward_apply,
    backward_batch,
    backward_reduce,
    normalize,
    normalize_batch,
)


class BatchNorm(Module):
    """Statistics → normalize → commit, and back.

    Between forward and backward it keeps x itself and O(C) numbers. A family creates `weight`,
    `bias` (parameters or None) and `running_mean`, `running_var` (arrays or None), and says in
    `_commit` how a batch enters the running statistics.
    """

    _ranks: ClassVar[tuple[int, ...]] = ()  # numbers of axes that x may have; () for any

    def __init__(self, num_features: int | None, eps: float, axis: int, dtype: DTypeLike) -> None:
        _check.integer("axis", axis)
        self.num_features = num_features
        self.eps = eps
        self.axis = axis
        self.dtype = _check.floating_dtype(dtype)
        self.weight: Parameter | None = None
        self.bias: Parameter | None = None
        self.running_mean: Array | None = None
        self.running_var: Array | None = None
        self._before: list[tuple[Array, Array]] = []  # buffers, and what they held

    def _prepare(self, x: Array) -> int:
        """Check x against this layer; the channel axis, counted from the front."""
        axis = _check.data(x, self.axis)
        _check.batch_rank(x.ndim, self._ranks)
        if self.num_features is not None:
            _check.size("x", x, axis, self.num_features)
        return axis

    def _create(self, channels: int) -> None:
        """Create what waits for the first input; all checks are behind it."""

    def _commit(self, batch: Stats) -> None:
        """Take a batch into the running statistics."""
        raise NotImplementedError

    def forward(self, x: Array) -> Array:
        """Normalize x; in training with its own statistics, which enter the running ones."""
        axis = self._prepare(x)
        self._before = []
        if self.training:
            _check.enough_values(x, axis)
        self._create(x.shape[axis])
        weight, bias = _data(self.weight), _data(self.bias)
        if self.training or self.running_mean is None or self.running_var is None:
            _check.enough_values(x, axis)
            y, batch = normalize_batch(x, weight, bias, self.eps, axis=axis)
            if self.training and x.size:
                self._before = [(a, a.copy()) for _, a in self._own_buffers()]
                self._commit(batch)
            self._keep(y, x, axis, batch, None)
        else:
            mean, var = self.running_mean, self.running_var
            y = normalize(x, mean, var, weight, bias, self.eps, axis=axis)
            # copies: a later batch changes the running statistics in place
            self._keep(y, x, axis, None, (mean.copy(), var.copy()))
        return y

    def _undo_forward(self) -> None:
        for running, before in self._before:
            running[...] = before
        self._before = []

    def backward(self, dy: Array) -> Array:
        """Gradient of x; those of weight and bias are added to their ``grad``."""
        x, axis, batch, running = self._take(dy)
        weight = _data(self.weight)
        if batch is not None:
            var = batch.var
            dx, sums = backward_batch(dy, x, batch, weight, self.eps, axis=axis)
        else:
            mean, var = running
            sums = backward_reduce(dy, x, mean, axis=axis)
            dx = backward_apply(dy, x, mean, var, weight, self.eps, axis=axis)
        if self.weight is not None:
            self.weight.accumulate(sums.dweight(var, self.eps))
        if self.bias is not None:
            self.bias.accumulate(sums.dbias)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.unbatched_channels(input_shape, self.axis, self.num_features)
        _check.batch_rank(len(input_shape) + 1, self._ranks)
        return input_shape


def _data(parameter: Parameter | None) -> Array | None:
    return None if parameter is None else parameter.data
