"""Layer, RMS, group and instance normalization beside PyTorch, JAX and ONNX Runtime.

``python bench/kernels.py --family`` prints milliseconds of the forward and the backward pass, each
contestant in a process of its own, in turns, verified against float64 before.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import machine
import numpy as np
import samples
from normalizers import CONTESTANTS, load
from worker import Contestant, one_line, rest

PASSES = ("forward", "backward")
WARM, FEWEST, TIMED = 2, 3, 0.05  # calls; calls at least; s of timing


class Work:
    """One contestant, in its own process; its methods are the commands of a worker."""

    def __init__(self, name: str, threads: int) -> None:
        self._make, self._threads = load(name), threads
        self._calls: dict[str, Callable[[], Any]] = {}

    def setup(self, kind: str, shape: tuple[int, ...]) -> str | None:
        """Make the calls of one case and verify them; tells what is wrong."""
        self._calls = {}
        data = samples.make(kind, shape)
        try:
            calls = self._make(data, self._threads)
            for name, call in calls.items():
                samples.check(data, name, call())
        except Exception as error:  # a framework may raise anything
            return one_line(error)
        self._calls = calls
        rest()
        return None

    def measure(self) -> dict[str, float]:
        """Milliseconds of each call, the median of some."""
        found = {name: _milliseconds(call) for name, call in self._calls.items()}
        rest()
        return found


def _milliseconds(call: Callable[[], Any]) -> float:
    for _ in range(WARM):
        call()
    times: list[float] = []
    end = time.perf_counter() + TIMED
    while len(times) < FEWEST or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def run(threads: int, repeat: int, pattern: str) -> None:
    """Measure all cases whose name has the pattern in it, and print a table."""
    usage = machine.Usage()
    everybody = [
        Contestant(name, "", partial(Work, name, threads), threads) for name in CONTESTANTS
    ]
    for contestant in everybody:
        contestant.receive()
    ratios: dict[str, dict[str, list[float]]] = {
        name: {p: [] for p in PASSES} for name in CONTESTANTS
    }
    print("milliseconds, forward / backward:", *CONTESTANTS, sep="  ")
    for kind, shape in samples.CASES:
        name = f"{kind} {'x'.join(map(str, shape))}"
        if pattern in name:
            times = _times(everybody, kind, shape, repeat)
            _note(times, ratios)
            print(f"{name:32}", *(_cell(times[each]) for each in CONTESTANTS), sep="  ")
    for name, by_pass in ratios.items():
        for each, values in by_pass.items():
            if name != "bn" and values:
                mean = np.exp(np.mean(np.log(values)))
                print(
                    f"{name} / bn, {each}: {mean:.2f} in the geometric mean, "
                    f"{min(values):.2f} to {max(values):.2f}"
                )
    for contestant in everybody:
        if contestant.missing:
            print(f"{contestant.name}: {contestant.missing}")
        contestant.stop()
    print(usage.so_far())


def _times(
    everybody: list[Contestant], kind: str, shape: tuple[int, ...], repeat: int
) -> dict[str, dict[str, float]]:
    """The median of all turns, for each contestant and pass."""
    present = [contestant for contestant in everybody if contestant.missing is None]
    for contestant in present:
        problem = contestant.ask("setup", kind, shape)
        if problem:
            print(f"{contestant.name}: {problem}")
    turns: dict[str, dict[str, list[float]]] = {name: {} for name in CONTESTANTS}
    for turn in range(repeat):
        first = turn % len(present)
        for contestant in present[first:] + present[:first]:
            for name, value in (contestant.ask("measure") or {}).items():
                turns[contestant.name].setdefault(name, []).append(value)
    return {
        name: {each: statistics.median(values) for each, values in by_pass.items()}
        for name, by_pass in turns.items()
    }


def _note(times: dict[str, dict[str, float]], ratios: dict[str, dict[str, list[float]]]) -> None:
    for name, by_pass in times.items():
        for each, value in by_pass.items():
            ratios[name][each].append(value / times["bn"][each])


def _cell(times: dict[str, float]) -> str:
    return " / ".join(f"{times[each]:.3g}" if each in times else "-" for each in PASSES)
