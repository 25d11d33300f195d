"""Exact batch normalization over micro-batches that are never in memory together."""

from __future__ import annotations

from typing import cast

from bn import _check
from bn.functional import backward_apply, backward_reduce, normalize, stats
from bn.layers.batch_norm import BatchNorm
from bn.module import Array
from bn.statistics import BackwardSums, Stats, merge

PHASES = ("add", "normalize", "reduce", "apply")


class accumulate:
    """Batch normalization of one large batch that comes in chunks: the results of the whole.

    Four passes over the chunks, each in the same order: `add` all of them, then `normalize` them;
    backward, `reduce` all of them, then `apply`. The last two are not needed without gradients.
    The chunks may be of any sizes; of each only O(C) numbers are kept.

    Parameters
    ----------
    layer : BatchNorm
        Whose parameters are used and get gradients, and whose running statistics take the batch as
        one (where the layer lets batches in).

    Raises
    ------
    TypeError, ValueError, RuntimeError
        `layer` is no batch normalization; a chunk does not fit it; a pass begins too early, or has
        more or fewer values than the first.

    Examples
    --------
    >>> import bn, numpy as np
    >>> x = np.array([[1.0], [3.0], [5.0], [7.0]])
    >>> whole = accumulate(bn.BatchNorm1d(1, affine=False))
    >>> for chunk in (x[:1], x[1:]):
    ...     whole.add(chunk)
    >>> y = np.concatenate([whole.normalize(chunk) for chunk in (x[:1], x[1:])])
    >>> bool(np.allclose(y, bn.BatchNorm1d(1, affine=False)(x)))
    True
    """

    def __init__(self, layer: BatchNorm) -> None:
        _check.instance("layer", layer, BatchNorm)
        _check.no_correction("accumulate", layer._corrects())
        self.layer = layer
        self._phase = 0
        self._left = 0.0  # values of a channel that this pass has yet to see
        self._batch: Stats | None = None
        self._sums: BackwardSums | None = None

    @property
    def batch(self) -> Stats:
        """The statistics of all chunks added so far."""
        _check.something_added(self._batch is not None)
        return cast("Stats", self._batch)

    def add(self, x: Array) -> None:
        """First pass: take a chunk into the statistics."""
        self._enter(0)
        axis = self.layer._prepare(x)
        if self.layer.num_features is None:
            self.layer._build(x.shape[axis])
        part = stats(x, axis)
        self._batch = part if self._batch is None else merge([self._batch, part])

    def normalize(self, x: Array, out: Array | None = None) -> Array:
        """Second pass: a chunk of y."""
        self._enter(1)
        batch, layer = self.batch, self.layer
        axis = self._next(x)
        weight, bias = layer.affine_arrays()
        y = normalize(x, batch.mean, batch.var, weight, bias, layer.eps, axis=axis, out=out)
        self._seen(x, axis)
        return y

    def reduce(self, dy: Array, x: Array) -> None:
        """Third pass: take a chunk of dy, and the x it belongs to, into the sums."""
        self._enter(2)
        axis = self._next(x)
        part = backward_reduce(dy, x, self.batch.mean, axis=axis)
        self._sums = part if self._sums is None else merge([self._sums, part])
        self._seen(x, axis)

    def apply(self, dy: Array, x: Array, out: Array | None = None) -> Array:
        """Fourth pass: a chunk of dx."""
        self._enter(3)
        batch, layer = self.batch, self.layer
        axis = self._next(x)
        weight, _ = layer.affine_arrays()
        dx = backward_apply(
            dy, x, batch.mean, batch.var, weight, layer.eps, self._sums, axis=axis, out=out
        )
        self._seen(x, axis)
        return dx

    def _next(self, x: Array) -> int:
        """The channel axis of a chunk, which must be among those still to come."""
        axis = self.layer._prepare(x)
        _check.values_left(PHASES[self._phase], x.size // max(x.shape[axis], 1), self._left)
        return axis

    def _seen(self, x: Array, axis: int) -> None:
        self._left -= x.size // max(x.shape[axis], 1)

    def _enter(self, phase: int) -> None:
        """Be in this pass; the one before must be over."""
        if phase == self._phase:
            return
        _check.phase(PHASES, phase, self._phase, self._left, self._batch is not None)
        batch, layer = self.batch, self.layer
        if phase == 1:
            _check.enough_merged(batch.count)
            if batch.count.any():
                layer.observe(batch, layer.training)
        if phase == 3 and self._sums is not None:
            layer._add_gradients(self._sums.dweight(batch.var, layer.eps), self._sums.dbias)
        self._left = float(batch.count.max(initial=0))
        self._phase = phase
