"""Changes to the process while a command runs: the handling of Ctrl-C, output, threads."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import bn


def command_name() -> str:
    """How this process was called: `bn`, the installed script, or `python -m bn`."""
    return "bn" if Path(sys.argv[0]).stem == "bn" else "python -m bn"


@dataclass
class Stop:
    """`requested` tells whether Ctrl-C was pressed."""

    requested: bool = False
    before: Any = None  # the handler of Ctrl-C outside

    @contextmanager
    def left_to_fit(self) -> Iterator[None]:
        """Leave Ctrl-C to `nn.fit`, which saves its state before it stops."""
        ours = signal.getsignal(signal.SIGINT)
        if self.requested or self.before is not signal.default_int_handler:
            yield
            return
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            if not self.requested:
                signal.signal(signal.SIGINT, ours)


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """Let the first Ctrl-C request a stop between two steps; a second one interrupts at once.

    A network that is saved after the first Ctrl-C therefore has all updates of its last step.
    """
    before = signal.getsignal(signal.SIGINT)
    stop = Stop(before=before)

    def ask(number: int, frame: FrameType | None) -> None:
        stop.requested = True
        signal.signal(signal.SIGINT, before)

    # A background job of a shell ignores Ctrl-C, and must continue to ignore it.
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def forget_output() -> None:
    """Discard everything that is printed from now on, after the reader has closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def limit_threads(threads: int | None) -> AbstractContextManager[None]:
    """Run the kernels and BLAS on `threads` threads, or on their own choice if None."""
    return nullcontext() if threads is None else bn.threads(threads)
