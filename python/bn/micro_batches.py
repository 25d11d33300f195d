"""Exact batch normalization over micro-batches that are never in memory together."""

from __future__ import annotations

from typing import Any

from bn import _check
from bn._module import Array
from bn.functional import backward_apply, backward_reduce, normalize, stats
from bn.layers.base import BatchNorm
from bn.values import BackwardSums, Stats, merge

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
        self._axis: int | None = None
        self._phase = 0
        self._left = 0.0  # values of a channel that this pass has yet to see
        self._parts: list[Any] = []
        self._batch: Stats | None = None
        self._sums: BackwardSums | None = None

    @property
    def batch(self) -> Stats:
        """The statistics of all chunks added so far."""
        return merge(self._parts) if self._batch is None else self._batch

    def add(self, x: Array) -> None:
        """First pass: take a chunk into the statistics."""
        self._enter(0)
        axis = self.layer._prepare(x)
        if self.layer.num_features is None:
            self.layer._build(x.shape[axis])
        part = stats(x, axis)
        self._parts = [merge([*self._parts, part])]

    def normalize(self, x: Array, out: Array | None = None) -> Array:
        """Second pass: a chunk of y."""
        self._enter(1)
        batch, layer = self.batch, self.layer
        axis = self._next(x)
        weight, bias = layer.affine_arrays()
        return normalize(x, batch.mean, batch.var, weight, bias, layer.eps, axis=axis, out=out)

    def reduce(self, dy: Array, x: Array) -> None:
        """Third pass: take a chunk of dy, and the x it belongs to, into the sums."""
        self._enter(2)
        axis = self._next(x)
        part = backward_reduce(dy, x, self.batch.mean, axis=axis)
        self._parts = [merge([*self._parts, part])]

    def apply(self, dy: Array, x: Array, out: Array | None = None) -> Array:
        """Fourth pass: a chunk of dx."""
        self._enter(3)
        batch, layer = self.batch, self.layer
        axis = self._next(x)
        weight, _ = layer.affine_arrays()
        return backward_apply(
            dy, x, batch.mean, batch.var, weight, layer.eps, self._sums, axis=axis, out=out
        )

    def _next(self, x: Array) -> int:
        """The channel axis of a chunk, which counts as seen."""
        axis = self.layer._prepare(x)
        count = x.size // max(x.shape[axis], 1)
        _check.values_left(PHASES[self._phase], count, self._left)
        self._left -= count
        return axis

    def _enter(self, phase: int) -> None:
        """Be in this pass; the one before must be over."""
        if phase == self._phase:
            return
        _check.phase(PHASES, phase, self._phase, self._left, bool(self._parts) or phase != 1)
        if phase == 1:
            self._batch = merge(self._parts)
            _check.enough_merged(self._batch.count)
            if self._batch.count.any():
                self.layer.observe(self._batch, self.layer.training)
            self._parts = []
        if phase == 3:
            self._sums = merge(self._parts)
            self.layer._add_gradients(
                self._sums.dweight(self.batch.var, self.layer.eps), self._sums.dbias
            )
        assert self._batch is not None
        self._left = float(self._batch.count.max(initial=0))
        self._phase = phase
