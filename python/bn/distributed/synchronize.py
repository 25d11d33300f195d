"""Batch normalization layers whose batch is that of all ranks."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from bn import _check
from bn._core import core
from bn.distributed.exchange import Exchange, Phase, exchange_over
from bn.layers.batch_norm import BatchNorm, Combined, batch_norms
from bn.layers.combining import combiner
from bn.layers.ghost import GhostBatchNorm
from bn.layers.sample_norm import SampleNorm
from bn.module import Module
from bn.statistics import BackwardSums, Stats, trusted
from bn.types import Array, Doubles

Model = TypeVar("Model", bound=Module)


class Synchronization:
    """The `combine` of a layer whose statistics are those of all ranks.

    Parameters
    ----------
    exchange : Exchange
    path, dtype : str, dtype
        The layer's.
    """

    def __init__(self, exchange: Exchange, path: str, dtype: np.dtype[Any]) -> None:
        self.exchange, self.place = exchange, exchange.place(f"layer {path}", dtype)

    def __call__(self, part: Combined) -> Combined:
        """Merge what all ranks have, in the order of their numbers."""
        if isinstance(part, Stats):
            rows = self._gathered(Phase.FORWARD, part.count, part.mean, part.m2)
            return Stats.merged([trusted(Stats, count=n, mean=mean, m2=m2) for n, mean, m2 in rows])
        # The layer knows the count from its forward pass, so it is not sent.
        unknown = np.zeros(part.dy.size)
        rows = self._gathered(Phase.BACKWARD, part.dy, part.dy_xmu)
        return BackwardSums.merged(
            [trusted(BackwardSums, count=unknown, dy=dy, dy_xmu=dy_xmu) for dy, dy_xmu in rows]
        )

    def _gathered(self, phase: Phase, *vectors: Doubles) -> Array:
        return self.exchange.gather(self.place, phase, *vectors)

    def __repr__(self) -> str:
        return f"<rank {self.exchange.rank} of {self.exchange.size}>"

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # a copy of the layer is in no communication


def synchronize(model: Model, comm: Any, *, timeout: float = 60.0) -> Model:
    """Let the batch normalizations of a model take the statistics of all ranks' batches.

    Each rank's batch is a part of one large batch: with (n_r, mean_r, M2_r) of rank r merged as by
    `bn.merge` in the order of the ranks, ``y = (x - mean) / sqrt(M2 / n + eps) · weight + bias``.
    All ranks get the same bits of statistics and running statistics. The parts may have any sizes,
    and may be empty. Backward, Σ dy and Σ dy·(x - mean) are added over the ranks, and dx is that of
    the large batch. The gradients of weight and bias are those of the rank's part: average or add
    them as those of all other parameters.

    Parameters
    ----------
    model : Module
        A layer or a model, the same one on every rank. It is changed in place.
    comm : mpi4py communicator, Communicator or None
        What has `rank`, `size` and ``allgather(buffer, timeout)``, as `bn.distributed.Communicator`
        says. None undoes the synchronization.
    timeout : float, default 60
        How many seconds a rank waits for others.

    Returns
    -------
    Module
        The model itself.

    Raises
    ------
    ValueError
        The model has no batch normalization, so nothing would be synchronized. Layer, group, RMS
        and instance normalization need nothing: their statistics are those of single samples. A
        layer is inside of a `bn.GhostBatchNorm`, whose batches are smaller than a rank's, or has a
        `combine` of another kind.
    TypeError
        `model` is no Module, or `comm` no communicator.
    SyncError
        From the calls of the layers: a rank makes another call, has failed or does not answer.
        The running statistics of all layers of the model are then those before the call.

    See Also
    --------
    bn.synchronized : The same for all layers called in a block.

    Notes
    -----
    A forward pass sends 3C doubles for each layer, a backward pass 2C, and a header of 32 bytes, in
    blocks of 4096 bytes. In eval mode nothing is sent. Copies of the model, pickled ones too, are
    not synchronized.

    References
    ----------
    Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979; ``torch.nn.SyncBatchNorm``, which is for GPUs.

    Examples
    --------
    With MPI, ``comm`` is ``mpi4py.MPI.COMM_WORLD``. Here it is that of a run with one rank:

    >>> import bn
    >>> class Alone:
    ...     rank, size = 0, 1
    ...     def allgather(self, buffer, timeout):
    ...         return buffer[np.newaxis]
    >>> layer = bn.synchronize(bn.BatchNorm1d(1), Alone())
    >>> layer(np.array([[1.0], [3.0]])).round(2).ravel()
    array([-1.,  1.])
    >>> bn.synchronize(layer, None).combine is None
    True
    """
    _check.instance("model", model, Module)
    layers = list(batch_norms(model))
    samples = sum(isinstance(layer, SampleNorm) for layer in model.modules())
    _check.synchronizable(type(model).__name__, len(layers), samples)
    for path, layer in model.named_modules():
        if isinstance(layer, GhostBatchNorm):
            _check.no_ghosts(path)
    for path, layer in layers:
        if not isinstance(layer.combine, Synchronization | None):
            _check.no_other_combine(path)
    exchange = None if comm is None else exchange_over(comm, timeout)
    for path, layer in layers:
        layer.combine = None if exchange is None else Synchronization(exchange, path, layer.dtype)
    return model


def ranks_taken(layer: BatchNorm) -> int:
    """How many ranks' batches make the statistics of a call of this layer."""
    combine = layer.combining()
    return combine.exchange.size if isinstance(combine, Synchronization) else 1


class synchronized(core.Setting):
    """Within it, all batch normalizations take the statistics of all ranks' batches.

    As `bn.synchronize`, for every layer that is called in the block and has no `combine` of its
    own. A backward pass is synchronized if its forward pass was. If an exception leaves the block,
    the other ranks get a `bn.SyncError` with this exception and this rank in it, in the place of
    their next exchange.

    Parameters
    ----------
    comm : mpi4py communicator or Communicator
    timeout : float, default 60
        How many seconds a rank waits for others.

    Raises
    ------
    TypeError
        `comm` is no communicator.
    ValueError
        `timeout` is not a positive number.
    SyncError
        From the calls of the layers; see `bn.synchronize`.

    Notes
    -----
    It holds for this thread. Layers are told apart by their class alone, since the block does not
    know the model; `bn.synchronize` names their paths.

    Examples
    --------
    >>> import bn, numpy as np
    >>> class Alone:
    ...     rank, size = 0, 1
    ...     def allgather(self, buffer, timeout):
    ...         return buffer[np.newaxis]
    >>> layer = bn.BatchNormalization(synchronized=True)
    >>> with bn.synchronized(Alone()):
    ...     y = layer(np.ones((20, 3), np.float32))
    >>> layer(np.ones((20, 3), np.float32))
    Traceback (most recent call last):
    ...
    RuntimeError: BatchNormalization with synchronized=True must be called inside of \
bn.synchronized(comm), or after bn.synchronize(model, comm), got neither
    """

    def __init__(self, comm: Any, *, timeout: float = 60.0) -> None:
        super().__init__(combiner)
        self._exchange = exchange_over(comm, timeout)

    def value(self) -> object:
        return self._combine_of

    def _combine_of(self, layer: BatchNorm) -> Synchronization:
        return Synchronization(self._exchange, type(layer).__name__, layer.dtype)

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if error[1] is not None:
            self._exchange.fail(error[1])


def report_failure(comm: Any, error: BaseException, *, timeout: float = 60.0) -> None:
    """Tell the other ranks, in the place of this rank's next exchange, that it has failed.

    They get a `bn.SyncError` with this rank and the error in it, where they would wait for this
    rank otherwise. `bn.synchronized` does this for an exception that leaves its block. Nothing is
    raised, because an exception is under way already.

    Parameters
    ----------
    comm : mpi4py communicator or Communicator
        The one of `bn.synchronize`.
    error : BaseException
        What happened.
    timeout : float, default 60
        How many seconds to wait until the others have heard.

    Examples
    --------
    >>> import bn
    >>> class Alone:
    ...     rank, size = 0, 1
    ...     def allgather(self, buffer, timeout):
    ...         return buffer[np.newaxis]
    >>> comm = Alone()
    >>> report_failure(comm, ValueError("no such file"))
    >>> bn.synchronize(bn.BatchNorm1d(1), comm)(np.ones((20, 1)))
    Traceback (most recent call last):
    ...
    bn.distributed.exchange.SyncError: rank 0 failed: ValueError: no such file
    """
    exchange_over(comm, timeout).fail(error)
