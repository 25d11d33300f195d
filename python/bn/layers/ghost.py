"""Ghost batch normalization: a large batch in training as several small ones."""

from __future__ import annotations

import numpy as np

from bn import _check
from bn._core import core
from bn.functional import merge
from bn.layers.batch_norm import BatchNorm
from bn.module import Module
from bn.types import Array, Shape


class GhostBatchNorm(Module):
    """Normalize each `virtual_batch_size` samples with statistics of their own, in training.

    The running statistics are updated with the merged statistics of the whole batch. In eval mode
    the wrapper calls the layer.

    Parameters
    ----------
    layer : BatchNorm
        Whose parameters, statistics and mode are used.
    virtual_batch_size : int
        Samples in a ghost batch. The last ghost batch has the samples that remain; if these are a
        single value per channel, they join the ghost batch before.

    Raises
    ------
    TypeError, ValueError
        `layer` is no batch normalization (or one with batch renormalization), or the size is not at
        least 1.

    References
    ----------
    Hoffer, Hubara & Soudry, "Train longer, generalize better", 2017.

    Examples
    --------
    >>> import bn
    >>> ghost = GhostBatchNorm(bn.BatchNorm1d(1, affine=False), virtual_batch_size=2)
    >>> ghost(np.array([[1.0], [3.0], [10.0], [30.0]])).round(2).ravel()
    array([-1.,  1., -1.,  1.])
    """

    kept_names = ("x",)

    def __init__(self, layer: BatchNorm, virtual_batch_size: int) -> None:
        _check.instance("layer", layer, BatchNorm)
        _check.no_correction("GhostBatchNorm", layer.corrects)
        _check.positive_int("virtual_batch_size", virtual_batch_size)
        self.layer = layer
        self.virtual_batch_size = virtual_batch_size

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.layer.output_shape(input_shape)

    def build(self, input_shape: Shape) -> None:
        self.layer.build(input_shape)

    def _ghosts(self, x: Array, axis: int) -> list[slice]:
        size = self.virtual_batch_size
        starts = list(range(0, x.shape[0], size))
        places = x[:1].size // x.shape[axis]  # values of a channel in a sample
        if len(starts) > 1 and (x.shape[0] - starts[-1]) * places == 1:
            del starts[-1]
        return [slice(a, b) for a, b in zip(starts, [*starts[1:], x.shape[0]], strict=True)]

    def forward(self, x: Array, *, training: bool | None = None) -> Array:
        """Normalize each ghost by itself in training; see `bn.BatchNorm`."""
        layer = self.layer
        _check.optional_flag("training", training)
        training = layer.training if training is None else training
        axis = layer.prepare(x)
        _check.batch_axis_apart(axis)
        uses_batch = layer.uses_batch_stats(training)
        if uses_batch:
            _check.no_combine("GhostBatchNorm", layer.combining())
        if not uses_batch or x.size == 0:
            y: Array = layer(x, training=training)
            self.keep(y, None, None)
            return y
        ghosts = self._ghosts(x, axis)
        for ghost in ghosts:
            _check.enough_values(x[ghost], axis)
        layer.build_channels(x.shape[axis])
        layer.running.settle()
        y = core.empty_like(x)
        calls = [layer.normalize(x[ghost], axis, out=y[ghost])[1] for ghost in ghosts]
        parts = [call.batch for call in calls if call.batch is not None]
        whole = merge(parts)
        layer.show(x, y, whole)
        layer.observe(whole, training, values=parts[-1].count)
        self.keep(y, x, list(zip(ghosts, calls, strict=True)))
        return y

    def backward(self, dy: Array) -> Array:
        """Gradient of x; those of weight and bias are added to the layer's."""
        x, calls = self.take(dy)
        layer = self.layer
        if calls is None:
            return layer.backward(dy)
        dx = core.empty_like(x)
        gradients = []
        for ghost, call in calls:
            _, sums = layer.gradient(dy[ghost], call, out=dx[ghost])
            gradients.append(layer.affine_gradients(call, sums))
        layer.add_gradients(*(np.sum(of_all, axis=0) for of_all in zip(*gradients, strict=True)))
        return dx

    def extra_repr(self) -> str:
        return f"virtual_batch_size={self.virtual_batch_size}"
