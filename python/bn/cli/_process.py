"""What a command changes in its process for a while: the handling of Ctrl-C, the threads."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import bn


@dataclass
class Stop:
    """Whether Ctrl-C was pressed."""

    requested: bool = False


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """Let the first Ctrl-C ask for a stop between two steps; a second one interrupts at once.

    So no weight is half-updated when the network is saved.
    """
    stop, before = Stop(), signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        stop.requested = True
        signal.signal(signal.SIGINT, before)

    # a shell's background job ignores Ctrl-C, and goes on doing so
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def forget_output() -> None:
    """Let what is still printed go nowhere: its reader has left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def limit_threads(threads: int | None) -> Iterator[None]:
    """Run batch normalization and BLAS on `threads` threads; None leaves both as they are."""
    if threads is None:
        yield
        return
    from threadpoolctl import threadpool_limits

    before = bn.get_num_threads()
    bn.set_num_threads(threads)
    try:
        with threadpool_limits(threads, user_api="blas"):
            yield
    finally:
        bn.set_num_threads(before)
