"""MPI between processes, through mpi4py: ``pip install '.[mpi]'``.

mpi4py is imported when a communicator is made, not before, because importing it starts MPI.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from typing import Any

import numpy as np

from bn import _check
from bn.types import Array

__all__ = ["Communicator"]

SPIN = 1e-3  # seconds in which a rank only yields its core: an exchange takes some microseconds
PAUSE = 1e-4  # seconds between two looks afterwards, which leave the core to others
GRACE = 1.0  # seconds in which all ranks that still run answer, and write their messages
GAVE_UP = 29_487  # the tag of the message of a rank that gave up waiting


class Communicator:
    """The transport of `bn.synchronize` on MPI: buffers, without pickle.

    Waiting can be interrupted by Ctrl-C. A rank that waits longer than the timeout asks the others
    who is still there, so that all get an error with the missing ranks at once. Such an exchange
    can never be completed, and MPI would wait for it when the program ends. Therefore the end of
    this program then ends all processes of the run with ``MPI_Abort``.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm

    Attributes
    ----------
    rank, size : int

    Raises
    ------
    ImportError
        mpi4py is missing.
    TypeError, ValueError
        `comm` is not an intracommunicator of mpi4py, or was freed.

    References
    ----------
    MPI: A Message-Passing Interface Standard, version 4, section 6.12 (nonblocking collectives).

    Examples
    --------
    >>> from mpi4py import MPI  # doctest: +SKIP
    >>> comm = Communicator(MPI.COMM_WORLD)  # doctest: +SKIP
    >>> comm.allgather(np.array([comm.rank]), timeout=5)  # with 2 ranks  # doctest: +SKIP
    array([[0],
           [1]])
    """

    def __init__(self, comm: Any) -> None:
        _check.optional_package("bn.mpi.Communicator", "mpi4py")
        from mpi4py import MPI

        _check.mpi_communicator(comm, MPI.Comm)
        self.rank: int = comm.Get_rank()
        self.size: int = comm.Get_size()
        self._comm, self._mpi = comm, MPI

    def allgather(self, buffer: Array, timeout: float) -> Array:
        """Send a buffer to all ranks, and wait for theirs; see `bn.distributed.Communicator`."""
        _check.not_freed(self._comm)
        received = np.empty((self.size, buffer.size), buffer.dtype)
        sent = [buffer, self._mpi.BYTE]
        request = self._comm.Iallgather(sent, [received, self._mpi.BYTE])
        try:
            self._wait(request, timeout)
        except BaseException:
            atexit.register(_abort, self._mpi, (request, buffer, received))
            raise
        return received

    def _wait(self, request: Any, timeout: float) -> None:
        """Wait until all ranks have sent, or one of them gives up; at first without sleeping."""
        begin = time.monotonic()
        while not self._comm.Iprobe(self._mpi.ANY_SOURCE, GAVE_UP):
            if request.Test():
                return
            waited = time.monotonic() - begin
            if waited > timeout:
                break
            if waited < SPIN:
                os.sched_yield()
            else:
                time.sleep(PAUSE)
        self._give_up(timeout)

    def _give_up(self, timeout: float) -> None:
        """Ask who is still there, and raise an error that names the others."""
        missing = set(range(self.size)) - {self.rank}
        for other in missing:
            self._comm.Isend([b"", self._mpi.BYTE], other, GAVE_UP)
        begin, status = time.monotonic(), self._mpi.Status()
        while missing and time.monotonic() - begin < GRACE:
            if self._comm.Iprobe(self._mpi.ANY_SOURCE, GAVE_UP, status):
                self._comm.Recv([bytearray(0), self._mpi.BYTE], status.source, GAVE_UP)
                missing.discard(status.source)
            else:
                time.sleep(PAUSE)
        if missing:
            raise TimeoutError(_check.nothing_came(sorted(missing), timeout))
        raise TimeoutError(_check.came_late(timeout))


def _abort(mpi: Any, pending: object) -> None:
    """End all processes of the run, which MPI's own end would wait for.

    Others are given the time to write their messages. `pending` is the memory into which MPI may
    still write.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    time.sleep(GRACE)
    mpi.COMM_WORLD.Abort(1)
