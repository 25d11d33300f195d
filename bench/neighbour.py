"""A process that keeps one core busy, as another program on the same machine does."""

from __future__ import annotations

import multiprocessing as mp
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection


@contextmanager
def neighbour() -> Iterator[int]:
    """Start it, give its process id, and end it."""
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_spin, args=(theirs, os.getpid()), daemon=True)
    process.start()
    try:
        ours.recv()  # it is awake
        yield process.pid or 0
    finally:
        process.kill()
        process.join()


def _spin(pipe: Connection, parent: int) -> None:
    pipe.send(None)
    while os.getppid() == parent:  # it must not outlive a parent that was killed
        for _ in range(100_000):
            pass
