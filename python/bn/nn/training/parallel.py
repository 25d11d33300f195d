"""`DataParallel`: several ranks train one model, in a loop of one's own."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn.distributed.team import Team
from bn.inputs import Inputs
from bn.module import Module
from bn.nn.training.loader import Samples
from bn.nn.training.ranks import ManyRanks
from bn.nn.training.steps import NotFinite, Task
from bn.types import Array, Doubles


class DataParallel:
    """A model of which each rank has a copy, and trains it on its part of every batch.

    The copies get the parameters and running statistics of rank 0, and stay the same to the last
    bit: batch normalizations take the statistics of all parts together, and gradients are those of
    the loss of the whole batch, ``Σ_r n_r·loss_r / Σ_r n_r``, added in the order of the ranks.

    Parameters
    ----------
    model : Module
        Built, with the same structure on all ranks. Its batch normalizations are synchronized from
        now on, unless `bn.synchronize` has done it already, perhaps over a group of the ranks: see
        the notes. ``bn.synchronize(model, None)`` undoes that.
    comm : mpi4py communicator or bn.distributed.Communicator
    timeout : float
        How many seconds to wait for other ranks.

    Attributes
    ----------
    model : Module
    shard : (int, int)
        The rank and the number of ranks, for `BatchLoader`.

    Raises
    ------
    TypeError, ValueError
        An argument is not as above, or the model has a layer whose results for parts of a batch are
        not those of the batch: ghost batches, regularizers of batch normalization, running
        statistics of instance normalization.
    SyncError
        Also from its methods: another rank has failed, has another model, does something else, or
        does not answer.

    See Also
    --------
    fit : Does all of this with ``comm=``.
    bn.synchronize : The statistics alone.

    Notes
    -----
    Used as a block (``with parallel:``), it tells the other ranks of an exception that leaves the
    block, so that they do not wait for this one.

    After ``bn.synchronize(model, comm.Split(comm.rank // 8))`` normalizations take the statistics
    of eight ranks, while gradients are still those of all ranks. The running statistics of the
    groups would differ, so each step ends with their mean over the ranks.

    References
    ----------
    torch.nn.parallel.DistributedDataParallel, which averages over ranks as if all had batches of
    the same size.

    Examples
    --------
    With MPI, ``comm`` is ``mpi4py.MPI.COMM_WORLD``. Here it is that of a run with one rank:

    >>> from bn import nn
    >>> class Alone:
    ...     rank, size = 0, 1
    ...     def allgather(self, buffer, timeout):
    ...         return buffer[np.newaxis]
    >>> x, y = np.eye(4, dtype=np.float32), np.arange(4)
    >>> model = nn.Linear(4, 4, rng=0)
    >>> optimizer, criterion = nn.SGD(model.parameters(), lr=1.0), nn.CrossEntropyLoss()
    >>> parallel = DataParallel(model, Alone())
    >>> for images, labels in nn.BatchLoader(x, y, 4, shard=parallel.shard, rng=0):
    ...     optimizer.zero_grad()
    ...     loss = parallel.gradients(criterion, images, labels)
    ...     optimizer.step()
    >>> round(loss, 2)
    1.3
    """

    def __init__(self, model: Module, comm: Any, *, timeout: float = 60.0) -> None:
        _check.instance("model", model, Module)
        self.model = model
        self._team = Team(comm, timeout)
        self._ranks = ManyRanks(self._team, model)
        self.shard = self._team.rank, self._team.size

    def gradients(
        self, criterion: Any, x: Inputs, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Add the gradients of one batch, of which x and y are this rank's part.

        Parameters
        ----------
        criterion : Loss
            With the reduction ``"mean"`` or ``"sum"``.
        x, y, sample_weight
            As in `BatchLoader`. A rank may have no samples of a small batch.

        Returns
        -------
        float
            The loss of the whole batch: NaN if the criterion ignores all targets.

        Raises
        ------
        FloatingPointError
            The loss of a rank is NaN or infinite. It comes on all ranks, before any gradient is
            added and any running statistics have changed.
        """
        _check.takes_share(criterion)
        batch = Samples.checked(
            (x, y) if sample_weight is None else (x, y, sample_weight), may_be_empty=True
        )
        try:
            return self._ranks.gradients(Task(self.model, criterion, {}), [batch]).loss
        except NotFinite as error:
            reason = self._ranks.cause(self.model, [batch], {})
            raise FloatingPointError(f"the loss is {error.loss}: {reason}") from None

    def sum(self, values: ArrayLike) -> Doubles:
        """The sums of some numbers over all ranks, such as how many answers were right."""
        numbers: Array = _check.numeric("values", np.asarray(values))
        sums = self._team.sum("numbers", numbers.astype(np.float64).reshape(-1))
        found: Doubles = sums.reshape(numbers.shape)
        return found

    def check_alike(self) -> None:
        """Raise `SyncError` unless parameters and running statistics are the same everywhere."""
        self._ranks.check_alike()

    def __enter__(self) -> DataParallel:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._team.tell(error)

    def __repr__(self) -> str:
        rank, size = self.shard
        return f"DataParallel(rank {rank} of {size}, {self.model!r})"
