"""Exact batch normalization over micro-batches that are never in memory together."""

from __future__ import annotations

from bn import _check
from bn.arrays import takes_arrays
from bn.functional import backward_apply, backward_reduce, merge, stats
from bn.layers.batch_norm import BatchNorm, Combined
from bn.layers.combining import Combine
from bn.layers.watching import is_watched
from bn.statistics import BackwardSums, Stats
from bn.types import Array

PHASES = ("add", "normalize", "reduce", "apply")


def accumulate(layer: BatchNorm) -> Accumulation:
    """Batch normalization of one large batch that comes in chunks: the results of the whole.

    Parameters
    ----------
    layer : BatchNorm
        Whose parameters are used and get gradients, and whose running statistics take the batch as
        one (where the layer lets batches in).

    Returns
    -------
    Accumulation
        The object that takes the chunks.

    Raises
    ------
    TypeError, ValueError
        `layer` is no batch normalization, or one that corrects its output (batch renormalization,
        the darknet preset).

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
    _check.instance("layer", layer, BatchNorm)
    _check.no_correction("accumulate", layer.corrects)
    return Accumulation(layer)


class Accumulation:
    """One large batch of a layer, in chunks; `accumulate` makes it.

    There are four passes over the chunks, each in the same order: `add` all of them, then
    `normalize` them; backward, `reduce` all of them, then `apply`. Without gradients the first two
    are enough. The chunks may be of any sizes; of each only O(C) numbers are kept.

    Parameters
    ----------
    layer : BatchNorm

    Raises
    ------
    ValueError, RuntimeError
        From the passes: a chunk does not fit the layer; a pass begins too early, or has more or
        fewer values than the first.

    Examples
    --------
    >>> import bn, numpy as np
    >>> x = np.array([[1.0], [3.0], [5.0], [7.0]])
    >>> whole = bn.accumulate(bn.BatchNorm1d(1))
    >>> whole.add(x)
    >>> whole.batch.mean, whole.normalize(x).ravel().round(2)
    (array([4.]), array([-1.34, -0.45,  0.45,  1.34]))
    """

    def __init__(self, layer: BatchNorm) -> None:
        self.layer = layer
        self._phase = 0
        self._added = 0  # values of a channel that the first pass saw
        self._left = 0  # values of a channel that this pass has yet to see
        self._batch: Stats | None = None  # of all chunks
        self._sums: BackwardSums | None = None  # of all chunks
        self._combine: Combine | None = None  # the layer's, when all chunks had been added

    @property
    def batch(self) -> Stats:
        """The statistics of all chunks added so far."""
        if self._batch is None:
            raise RuntimeError("a batch has statistics after its first chunk, got none: call add")
        return self._batch

    @takes_arrays
    def add(self, x: Array) -> None:
        """First pass: take a chunk into the statistics."""
        self._enter(0)
        axis = self.layer.prepare(x)
        self.layer.build_channels(x.shape[axis])
        part = stats(x, axis)
        self._batch = part if self._batch is None else merge([self._batch, part])
        self._added += _values(x, axis)

    @takes_arrays
    def normalize(self, x: Array, out: Array | None = None) -> Array:
        """Second pass: a chunk of y."""
        self._enter(1)
        axis = self._next(x)
        y = self.layer.apply(x, self.batch, axis, out=out)
        if is_watched(self.layer):
            self.layer.show(x, y, stats(x, axis))
        self._left -= _values(x, axis)
        return y

    @takes_arrays
    def reduce(self, dy: Array, x: Array) -> None:
        """Third pass: take a chunk of dy, and the x it belongs to, into the sums."""
        self._enter(2)
        axis = self._next(x)
        part = backward_reduce(dy, x, self.batch.mean, axis=axis)
        self._sums = part if self._sums is None else merge([self._sums, part])
        self._left -= _values(x, axis)

    @takes_arrays
    def apply(self, dy: Array, x: Array, out: Array | None = None) -> Array:
        """Fourth pass: a chunk of dx."""
        self._enter(3)
        axis = self._next(x)
        batch, (weight, _) = self.batch, self.layer.affine_arrays()
        dx = backward_apply(
            dy, x, batch.mean, batch.var, weight, self.layer.eps, self._sums, axis=axis, out=out
        )
        self._left -= _values(x, axis)
        return dx

    def _next(self, x: Array) -> int:
        """The channel axis of a chunk, which must be among those still to come."""
        axis = self.layer.prepare(x)
        if _values(x, axis) > self._left:
            raise ValueError(
                f"{PHASES[self._phase]} must get the chunks that add got, and has {self._left} "
                f"values of a channel to come, got {_values(x, axis)}"
            )
        return axis

    def _enter(self, phase: int) -> None:
        """Be in this pass; the one before must be over."""
        if phase == self._phase:
            return
        self._check_order(phase)
        layer = self.layer
        if phase == 1:
            self._combine = layer.combining()
            batch = self._combined(self.batch)
            _check.enough_merged(batch.count)
            layer.running.settle()
            layer.observe(batch, layer.training)
            self._batch = batch
        if phase == 3 and self._sums is not None:
            own, batch = self._sums, self.batch
            of_all = self._combined(own)
            self._sums = BackwardSums(batch.count, of_all.dy, of_all.dy_xmu)
            layer.add_gradients(own.dweight(batch.var, layer.eps), own.dbias)
        self._left = self._added
        self._phase = phase

    def _combined(self, part: Combined) -> Combined:
        return part if self._combine is None else self._combine(part)

    def _check_order(self, phase: int) -> None:
        wanted, now = PHASES[phase], PHASES[self._phase]
        if phase < self._phase:
            raise RuntimeError(f"{wanted} must come before {now}, which has begun")
        if phase != self._phase + 1 or self._batch is None:
            before = PHASES[max(phase - 1, 0)]
            raise RuntimeError(f"{wanted} comes after all chunks went through {before}")
        if self._left > 0:
            raise RuntimeError(
                f"{wanted} comes after all chunks went through {now}: "
                f"{self._left} values of a channel are missing"
            )


def _values(x: Array, axis: int) -> int:
    """How many values a channel of x has."""
    return int(x.size // max(x.shape[axis], 1))
