"""The one batch normalization layer; the families add names, defaults and conventions to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn._module import Array, Module, Parameter, Shape
from bn.functional import Stats, backward_apply, backward_reduce, normalize, stats


class BatchNorm(Module):
    """Statistics → normalize → commit, and back.

    Between forward and backward it keeps x itself and O(C) numbers. A family creates `weight`,
    `bias` (parameters or None) and `running_mean`, `running_var` (arrays or None), and says in
    `_commit` how a batch enters the running statistics.
    """

    def __init__(self, num_features: int | None, eps: float, axis: int, dtype: DTypeLike) -> None:
        self.num_features = num_features
        self.eps = eps
        self.axis = axis
        self.dtype = _check.floating_dtype(dtype)
        self.weight: Parameter | None = None
        self.bias: Parameter | None = None
        self.running_mean: Array | None = None
        self.running_var: Array | None = None

    def _prepare(self, x: Array) -> int:
        """Check x against this layer; the channel axis, counted from the front."""
        axis = _check.data(x, self.axis)
        if self.num_features is not None:
            _check.size("x", x, axis, self.num_features)
        return axis

    def _commit(self, batch: Stats) -> None:
        """Take a batch into the running statistics."""
        raise NotImplementedError

    def forward(self, x: Array) -> Array:
        """Normalize x; in training with its own statistics, which enter the running ones."""
        axis = self._prepare(x)
        batch = None
        if self.training or self.running_mean is None or self.running_var is None:
            _check.enough_values(x, axis)
            batch = stats(x, axis)
            mean, var = batch.mean, batch.var
        else:  # copies: a later batch changes the running ones in place
            mean, var = self.running_mean.astype(np.float64), self.running_var.astype(np.float64)
        y = normalize(x, mean, var, _data(self.weight), _data(self.bias), self.eps, axis=axis)
        if self.training and batch is not None and x.size:
            self._commit(batch)
        self._saved = (x, axis, mean, var, batch is not None)
        return y

    def backward(self, dy: Array) -> Array:
        """Gradient of x; those of weight and bias are added to their ``grad``."""
        _check.saved(type(self).__name__, self._saved)
        _check.like("dy", dy, self._saved[0])
        x, axis, mean, var, from_batch = self._take_saved()
        sums = backward_reduce(dy, x, mean, axis=axis)
        if self.weight is not None:
            self.weight.accumulate(sums.dweight(var, self.eps))
        if self.bias is not None:
            self.bias.accumulate(sums.dbias)
        batch_sums = sums if from_batch else None
        return backward_apply(dy, x, mean, var, _data(self.weight), self.eps, batch_sums, axis=axis)

    def output_shape(self, input_shape: Shape) -> Shape:
        if self.num_features is not None:
            _check.unbatched_channels(input_shape, self.axis, self.num_features)
        return input_shape


def _data(parameter: Parameter | None) -> Array | None:
    return None if parameter is None else parameter.data
