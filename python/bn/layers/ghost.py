"""Ghost batch normalization: a large batch in training as several small ones."""

from __future__ import annotations

import numpy as np

from bn import _check
from bn.functional import backward_batch, normalize_batch
from bn.layers.batch_norm import BatchNorm
from bn.module import Array, Module, Shape
from bn.statistics import BackwardSums, Stats, merge


class GhostBatchNorm(Module):
    """Normalize each `virtual_batch_size` samples with statistics of their own, in training.

    What enters the running statistics are those of the whole batch, merged. In eval mode it is the
    layer itself.

    Parameters
    ----------
    layer : BatchNorm
        Whose parameters, statistics and mode are used.
    virtual_batch_size : int
        Samples in a ghost batch. The last one has what remains; a single value per channel that
        remains joins the ghost before.

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

    def __init__(self, layer: BatchNorm, virtual_batch_size: int) -> None:
        _check.instance("layer", layer, BatchNorm)
        _check.no_correction("GhostBatchNorm", layer._corrects())
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
        training = layer.training if training is None else training
        axis = layer._prepare(x)
        _check.batch_axis_apart(axis)
        if not layer._takes_batch(training) or x.size == 0:
            y = layer(x, training=training)
            self._keep(y, None, axis, ())
            return y
        for ghost in self._ghosts(x, axis):
            _check.enough_values(x[ghost], axis)
        if layer.num_features is None:
            layer._build(x.shape[axis])
        y, parts = np.empty_like(x), []
        weight, bias = layer.affine_arrays()
        for ghost in self._ghosts(x, axis):
            _, batch = normalize_batch(x[ghost], weight, bias, layer.eps, axis=axis, out=y[ghost])
            parts.append((ghost, batch))
        whole = merge([batch for _, batch in parts])
        layer.observe(whole, training, values=parts[-1][1].count)
        self._keep(y, x, axis, tuple(parts))
        return y

    def backward(self, dy: Array) -> Array:
        """Gradient of x; those of weight and bias are added to the layer's."""
        x, axis, parts = self._take(dy)
        if x is None:
            return self.layer.backward(dy)
        layer = self.layer
        dx: Array = np.empty_like(x)
        weight, _ = layer.affine_arrays()
        dweight, dbias = np.zeros(x.shape[axis]), np.zeros(x.shape[axis])
        ghost: slice
        batch: Stats
        sums: BackwardSums
        for ghost, batch in parts:
            _, sums = backward_batch(
                dy[ghost], x[ghost], batch, weight, layer.eps, axis=axis, out=dx[ghost]
            )
            dweight += sums.dweight(batch.var, layer.eps)
            dbias += sums.dbias
        layer._add_gradients(dweight, dbias)
        return dx

    def extra_repr(self) -> str:
        return f"virtual_batch_size={self.virtual_batch_size}"
