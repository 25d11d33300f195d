"""Transports for the tests of synchronization: threads, processes, and ones that fail."""

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import bn


class Board:
    """What the ranks of one process have sent: a list of buffers for each of them."""

    def __init__(self, size):
        self.sent = [[] for _ in range(size)]
        self.changed = threading.Condition()


class Threads:
    """A rank that is a thread, beside others of the same board."""

    def __init__(self, board, rank):
        self.rank, self.size = rank, len(board.sent)
        self.lengths = []
        self._board, self._calls = board, 0

    def allgather(self, buffer, timeout):
        sent, number = self._board.sent, self._calls
        self._calls += 1
        self.lengths.append(buffer.nbytes)
        with self._board.changed:
            sent[self.rank].append(buffer.copy())
            self._board.changed.notify_all()
            self._board.changed.wait_for(lambda: all(len(s) > number for s in sent), timeout)
            missing = [rank for rank, buffers in enumerate(sent) if len(buffers) <= number]
            if missing:
                raise TimeoutError(nothing_from(missing))
            return np.stack([buffers[number] for buffers in sent])


class Pipes:
    """A rank that is a process, with a pipe to each other one (None in its own place)."""

    def __init__(self, pipes, rank):
        self.rank, self.size = rank, len(pipes)
        self._pipes = pipes

    def allgather(self, buffer, timeout):
        end, missing = time.monotonic() + timeout, []
        received = np.tile(buffer, (self.size, 1))
        others = [rank for rank in range(self.size) if rank != self.rank]
        for other in others:
            self._send(other, buffer)
        for other in others:
            data = self._receive(other, end)
            if data is None:
                missing.append(other)
            else:
                received[other] = np.frombuffer(data, buffer.dtype)
        if missing:
            raise TimeoutError(nothing_from(missing))
        return received

    def _send(self, other, buffer):
        with contextlib.suppress(OSError):  # a rank that is gone will be silent
            self._pipes[other].send_bytes(buffer.tobytes())

    def _receive(self, other, end):
        with contextlib.suppress(OSError, EOFError):
            if self._pipes[other].poll(max(0, end - time.monotonic())):
                return self._pipes[other].recv_bytes()
        return None


class Unreliable:
    """Another transport that is late in each call, or silent from one call on."""

    def __init__(self, comm, delay=0.0, drops_from=None):
        self.rank, self.size = comm.rank, comm.size
        self._comm, self._delay, self._drops_from, self._calls = comm, delay, drops_from, 0

    def allgather(self, buffer, timeout):
        self._calls += 1
        time.sleep(self._delay)
        if self._drops_from is not None and self._calls >= self._drops_from:
            raise TimeoutError("the line is dead")
        return self._comm.allgather(buffer, timeout)


def nothing_from(ranks):
    return f"nothing came from rank {', '.join(map(str, ranks))} in time"


def pipes_between(context, size):
    """Return the pipes of each rank."""
    ends = [[None] * size for _ in range(size)]
    for one in range(size):
        for other in range(one):
            ends[one][other], ends[other][one] = context.Pipe()
    return ends


def on_threads(size, function, wrap=lambda comm: comm):
    """Call function(comm) on so many ranks; return their results, or the exceptions, in order."""
    board = Board(size)

    def rank(number):
        try:
            return function(wrap(Threads(board, number)))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(rank, range(size)))


def in_process(pipes, rank, x, answers):
    """Normalize a part of x with all ranks; the last rank dies before the backward pass."""
    layer = bn.synchronize(bn.BatchNorm1d(3, dtype="f8"), Pipes(pipes, rank), timeout=30)
    y = layer(np.array_split(x, len(pipes))[rank])
    if rank == len(pipes) - 1:
        os._exit(1)
    try:
        layer.backward(y)
    except bn.SyncError as error:
        answers.put((rank, (y, str(error))))
