"""Each contestant runs in a process of its own; only one of them works at a time.

So each has its own allocator, environment and thread pool, and none meets the others' spinning
threads: a worker answers only when its threads have come to rest.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing as mp
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

import peers
from cases import Case, make
from verify import Verifier

WARM, WARM_CALLS = 5e-3, 3  # s and calls before timing, as caches hold what the others left;
SLOW = 50e-3  # s of warming are enough
TIMED, MOST = 5e-3, 200  # s of timing, calls at most
REST = 0.2  # s at most to wait for threads that spin

Slot = tuple[str, str]  # layout, op


class Contestant:
    """The parent's side: starts a worker and talks to it.

    Parameters
    ----------
    key : str
        A name in `peers.PEERS`.
    column : str
        plain or tuned.
    threads : int
        How many it may use.
    """

    def __init__(self, key: str, column: str, threads: int) -> None:
        cls = peers.load(key)
        self.name, self.column = cls.name, column
        self.missing: str | None = None
        context = mp.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        extra = {"OMP_NUM_THREADS": str(threads)} | (cls.tuned_env if column == "tuned" else {})
        with _environment(extra):
            arguments = (theirs, key, column == "tuned", threads)
            self._process = context.Process(target=_serve, args=arguments, daemon=True)
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

    def stop(self) -> None:
        self._pipe.close()
        self._process.join(5)


@contextmanager
def _environment(extra: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(extra)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _serve(pipe: Connection, key: str, tuned: bool, threads: int) -> None:
    if hasattr(os, "sched_setaffinity"):  # nobody has more cores than threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    try:
        work = _Work(peers.load(key)(threads, tuned))
    except ImportError as error:
        pipe.send(("failed", f"not installed ({error})"))
        return
    pipe.send(("ok", None))
    gc.disable()
    while True:
        try:
            command, *arguments = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        pipe.send(("ok", getattr(work, command)(*arguments)))


class _Work:
    """The child's side: one contestant, and the case it has at hand."""

    def __init__(self, peer: peers.Peer) -> None:
        self._peer = peer
        self._calls: dict[Slot, peers.Call] = {}

    def clear(self) -> None:
        """Let go of the last case's memory, even where malloc was told to keep it."""
        self._calls = {}
        gc.collect()
        with suppress(AttributeError):  # only glibc has it
            ctypes.CDLL(None).malloc_trim(0)

    def setup(self, case: Case) -> tuple[dict[Slot, float], dict[Slot, str]]:
        """Make the data and verify every call; tells how far each is off, and what failed."""
        off: dict[Slot, float] = {}
        problems: dict[Slot, str] = {}
        for layout in case.layouts:
            data = make(case, layout)
            if not self._peer.takes(data):
                continue
            try:
                calls = self._peer.calls(data)
            except Exception as error:  # a framework may raise anything
                problems[layout, "all"] = _one_line(error)
                continue
            verifier, allowed = Verifier(data), self._peer.tolerance[case.dtype]
            for op, call in calls.items():
                try:
                    arrays = self._peer.arrays(op, call(), data)
                    off[layout, op] = verifier.check(op.split(",")[0], arrays, allowed)
                except Exception as error:
                    problems[layout, op] = _one_line(error)
                else:
                    self._calls[layout, op] = call
        _rest()
        return off, problems

    def measure(self) -> dict[Slot, list[float]]:
        """Milliseconds of every call, some of each."""
        times = {slot: _timed(call) for slot, call in self._calls.items()}
        _rest()
        return times


def _timed(call: peers.Call) -> list[float]:
    clock, times = time.perf_counter, []
    start, calls = clock(), 0
    while clock() < start + WARM or (calls < WARM_CALLS and clock() < start + SLOW):
        call()
        calls += 1
    end = clock() + TIMED
    while not times or (clock() < end and len(times) < MOST):
        start = clock()
        call()
        times.append((clock() - start) * 1e3)
    return times


def _rest() -> None:
    """Wait until no thread of this process runs."""
    end = time.perf_counter() + REST
    while time.perf_counter() < end:
        used = time.process_time()
        time.sleep(1e-3)
        if time.process_time() - used < 0.3e-3:
            return


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
