"""What a worker does for `kernels.py`: it verifies the calls of one peer, and times them."""

from __future__ import annotations

import ctypes
import gc
import time
from contextlib import suppress

import peers
from cases import Case, make
from verify import Verifier
from worker import one_line, rest

WARM, WARM_CALLS = 5e-3, 3  # s and calls before timing, as caches hold what the others left;
SLOW = 50e-3  # s of warming are enough
TIMED, MOST = 5e-3, 200  # s of timing, calls at most

Slot = tuple[str, str]  # layout, op


class Work:
    """One contestant and the case it has at hand; its methods are the commands of a worker.

    Parameters
    ----------
    key : str
        A name in `peers.PEERS`.
    tuned : bool
        Whether it is the peer's second column.
    threads : int
        How many it may use.
    """

    def __init__(self, key: str, tuned: bool, threads: int) -> None:
        self._peer = peers.load(key)(threads, tuned)
        self._calls: dict[Slot, peers.Call] = {}
        gc.disable()  # a collection in a call would count as its time

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
                problems[layout, "all"] = one_line(error)
                continue
            verifier, allowed = Verifier(data), self._peer.tolerance[case.dtype]
            for op, call in calls.items():
                try:
                    arrays = self._peer.arrays(op, call(), data)
                    off[layout, op] = verifier.check(op.split(",")[0], arrays, allowed)
                except Exception as error:
                    problems[layout, op] = one_line(error)
                else:
                    self._calls[layout, op] = call
        rest()
        return off, problems

    def measure(self) -> dict[Slot, list[float]]:
        """Milliseconds of every call, some of each."""
        times = {slot: _timed(call) for slot, call in self._calls.items()}
        rest()
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
