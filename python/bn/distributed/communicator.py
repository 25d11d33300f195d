"""The transport between ranks, which is somebody else's: MPI, or anything with three names."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from bn import _check
from bn.mpi import Communicator as MPICommunicator
from bn.types import Array


class Communicator(Protocol):
    """What `bn` needs of a transport: three names. `bn.mpi.Communicator` has them.

    It belongs to one rank and one thread. The calls of `allgather` on all ranks belong together in
    their order, the first with the first, and have buffers of the same length, as long as the ranks
    do the same. After an exception it is not called again.

    Attributes
    ----------
    rank : int
        The number of this process, from 0 to ``size - 1``.
    size : int
        The number of processes.

    Examples
    --------
    The transport of a run that has one rank:

    >>> import numpy as np, bn
    >>> class Alone:
    ...     rank, size = 0, 1
    ...     def allgather(self, buffer, timeout):
    ...         return buffer[np.newaxis]
    >>> layer = bn.synchronize(bn.BatchNorm1d(3), Alone())
    >>> layer(np.ones((20, 3), np.float32)).shape
    (20, 3)
    """

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def allgather(self, buffer: Array, timeout: float) -> Array:
        """Send a buffer to all ranks, and wait for theirs.

        Parameters
        ----------
        buffer : ndarray, shape (n,)
            Contiguous.
        timeout : float
            In seconds.

        Returns
        -------
        ndarray, shape (size, n)
            The buffers in the order of the ranks, to the same bits, with the buffer's dtype.

        Raises
        ------
        TimeoutError
            A buffer did not come in time. The message names the ranks, as far as they are known.
        """
        ...


def communicator(comm: Any) -> Communicator:
    """A communicator of the protocol, which one of mpi4py becomes."""
    mpi = sys.modules.get("mpi4py.MPI")  # which is there if comm is one of its communicators
    if mpi is not None and isinstance(comm, mpi.Comm):
        return MPICommunicator(comm)
    _check.communicator(comm)
    checked: Communicator = comm
    return checked
