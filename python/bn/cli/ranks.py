"""`bn train --distributed`: the ranks of a run under mpiexec.

Rank 0 does what `bn train` does without others. The others follow it from network to network, and
train with it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from bn.cli.failure import Failure, require
from bn.distributed import SyncError
from bn.distributed.team import Team

TIMEOUT = 600.0  # seconds in which rank 0 has measured a network, and the next one begins


@contextmanager
def ranks_of(distributed: bool) -> Iterator[Team | None]:
    """All ranks of a run under mpiexec; None for a run of one process.

    An exception on one rank ends all. What other ranks hear of it is printed by rank 0 alone.
    """
    if not distributed:
        yield None
        return
    require("train --distributed", "mpi4py", "mpi4py", "mpi")
    with ended_by_interrupt():
        from mpi4py import MPI

    team = Team(MPI.COMM_WORLD, TIMEOUT)
    try:
        with team.telling():
            yield team
    except SyncError as error:
        if team.first:
            raise Failure(str(error)) from error
        raise SystemExit(1) from error


@contextmanager
def ended_by_interrupt() -> Iterator[None]:
    """Let Ctrl-C end the process at once.

    MPI begins when mpi4py is imported, and waits for all ranks in C, where Python's handler would
    not be called. It would wait for ever for a rank that Ctrl-C ended before.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def next_network(team: Team | None, done: bool, stopped: bool) -> tuple[bool, bool]:
    """Whether the next network is trained already, and whether some rank stops here."""
    if team is None:
        return done, stopped
    done, stopped = team.any("the next network", [done, stopped])
    return done, stopped


def threads_of(team: Team | None, threads: int | None) -> int | None:
    """The threads of a rank: by default its share of the cores of its machine."""
    if team is None or threads is not None:
        return threads
    from mpi4py import MPI

    here = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)
    ranks: int = here.size
    here.Free()
    return max(1, (os.cpu_count() or 1) // ranks)
