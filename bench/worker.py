"""Each contestant runs in a process of its own; only one of them works at a time.

So each has its own allocator, environment and thread pool, and none meets the others' spinning
threads: a worker answers only when its threads have come to rest.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

REST = 0.2  # s at most to wait for threads that spin


class Contestant:
    """The parent's side: starts a worker and talks to it.

    Parameters
    ----------
    name, column : str
        Where its results stand in the tables.
    make : callable
        Makes the object, in the worker's process, whose methods are the commands. If it raises
        ImportError, the contestant is not installed.
    threads : int
        How many cores the process may use.
    environment : mapping, optional
        Environment variables of the process, beside OMP_NUM_THREADS, which is `threads`.
    """

    def __init__(
        self,
        name: str,
        column: str,
        make: Callable[[], Any],
        threads: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self.column = name, column
        self.missing: str | None = None
        context = mp.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        with _environment({"OMP_NUM_THREADS": str(threads), **(environment or {})}):
            self._process = context.Process(
                target=_serve, args=(theirs, make, threads), daemon=True
            )
            self._process.start()
        theirs.close()

    def send(self, *message: Any) -> None:
        with suppress(BrokenPipeError):  # `receive` tells
            self._pipe.send(message)

    def receive(self) -> Any:
        """The answer; None from one that fails as a whole, and is `missing` from then on."""
        try:
            kind, answer = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            kind, answer = "failed", f"its process died ({self._process.exitcode})"
        if kind == "failed":
            self.missing = answer
            return None
        return answer

    def ask(self, *message: Any) -> Any:
        """Send a command and wait for its answer."""
        self.send(*message)
        return self.receive()

    def stop(self) -> None:
        self._pipe.close()
        self._process.join(5)


@contextmanager
def _environment(extra: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(extra)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _serve(pipe: Connection, make: Callable[[], Any], threads: int) -> None:
    if hasattr(os, "sched_setaffinity"):  # nobody has more cores than threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    try:
        work = make()
    except ImportError as error:
        pipe.send(("failed", f"not installed ({error})"))
        return
    pipe.send(("ok", None))
    while True:
        try:
            command, *arguments = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(("ok", getattr(work, command)(*arguments)))


def rest() -> None:
    """Wait until no thread of this process runs."""
    end = time.perf_counter() + REST
    while time.perf_counter() < end:
        used = time.process_time()
        time.sleep(1e-3)
        if time.process_time() - used < 0.3e-3:
            return


def one_line(error: Exception) -> str:
    """An error's class and the first line of its message."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
