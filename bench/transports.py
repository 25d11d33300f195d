"""Transports for `scaling_work.py`: one that counts, one that is late, and one of a rank alone."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

YIELDS = 2e-4  # s before the end in which a rank only yields its core: a sleep takes 0.1 ms longer


class Counting:
    """Another transport, with what goes over it.

    Attributes
    ----------
    messages : int
        The calls, if there are other ranks.
    sent, received : int
        Bytes that this rank gives, and gets from others.
    seconds : float
        In calls, waiting for slower ranks included.
    """

    def __init__(self, comm: Any) -> None:
        self.rank, self.size = comm.rank, comm.size
        self.messages = self.sent = self.received = 0
        self.seconds = 0.0
        self._comm = comm

    def allgather(self, buffer: np.ndarray, timeout: float) -> np.ndarray:
        begin = time.perf_counter()
        rows: np.ndarray = self._comm.allgather(buffer, timeout)
        self.seconds += time.perf_counter() - begin
        if self.size > 1:
            self.messages += 1
            self.sent += buffer.nbytes
        self.received += rows.nbytes - buffer.nbytes
        return rows


class Late:
    """Another transport, each of whose calls takes longer."""

    def __init__(self, comm: Any, delay: float) -> None:
        self.rank, self.size = comm.rank, comm.size
        self._comm, self._delay = comm, delay

    def allgather(self, buffer: np.ndarray, timeout: float) -> np.ndarray:
        rows: np.ndarray = self._comm.allgather(buffer, timeout)
        wait(self._delay)
        return rows


class Copies:
    """A rank that hears only itself, as often as there are ranks."""

    rank = 0

    def __init__(self, size: int) -> None:
        self.size = size

    def allgather(self, buffer: np.ndarray, timeout: float) -> np.ndarray:
        return np.tile(buffer, (self.size, 1))


def wait(seconds: float) -> None:
    """Wait so long, and leave the core to others."""
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        if left > YIELDS:
            time.sleep(left - YIELDS)
        else:
            os.sched_yield()
