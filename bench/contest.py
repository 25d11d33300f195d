"""Libraries that make the same calls: each in a process of its own, in turns, in milliseconds."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import machine
from rounds import summary
from worker import Contestant, one_line, rest

WARM, FEWEST, TIMED = 2, 3, 0.05  # calls before timing; calls at least; s of timing

Calls = dict[str, Callable[[], Any]]
Make = Callable[[Any, int], Calls]  # a case and threads to the calls of one library


class Work:
    """One contestant; its methods are the commands of a worker.

    Parameters
    ----------
    make : callable
        Makes the calls of one case. What it raises is told, and the case is not timed.
    threads : int
        How many it may use.
    """

    def __init__(self, make: Make, threads: int) -> None:
        self._make, self._threads = make, threads
        self._calls: Calls = {}

    def setup(self, case: Any) -> str | None:
        """Make the calls of one case; tells what is wrong."""
        self._calls = {}
        try:
            self._calls = self._make(case, self._threads)
        except Exception as error:  # a library may raise anything
            return one_line(error)
        finally:
            rest()
        return None

    def measure(self) -> dict[str, float]:
        """Milliseconds of each call, the median of some."""
        found = {name: milliseconds(call) for name, call in self._calls.items()}
        rest()
        return found


def milliseconds(call: Callable[[], Any]) -> float:
    """The median of calls that take 0.05 s together, at least of three."""
    for _ in range(WARM):
        call()
    times: list[float] = []
    end = time.perf_counter() + TIMED
    while len(times) < FEWEST or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


def contest(
    libraries: Mapping[str, Make], cases: Mapping[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """Measure all cases, and return what is in the benchmark's file.

    Parameters
    ----------
    libraries : mapping of str to callable
        What makes the calls of each library. It must be a function of a module, which the process
        of the library can import.
    cases : mapping of str to object
        The titles of the cases, and what the functions get.
    options : Namespace
        `threads` and `repeat` of `results.parser`.
    """
    usage, about = machine.Usage(), machine.describe(options.threads, list(libraries))
    everybody = [
        Contestant(name, "", partial(Work, make, options.threads), options.threads)
        for name, make in libraries.items()
    ]
    for contestant in everybody:
        contestant.receive()
    try:
        found = [
            {"title": title} | _case(everybody, case, options.repeat)
            for title, case in cases.items()
        ]
    finally:
        for contestant in everybody:
            contestant.stop()
    return {"machine": about | usage.so_far(), "unit": "ms", "cases": found}


def _case(everybody: list[Contestant], case: Any, repeat: int) -> dict[str, Any]:
    """The times of each library and call, and what is wrong with whom."""
    problems = {}
    for contestant in everybody:
        problem = contestant.missing or contestant.ask("setup", case) or contestant.missing
        if problem:
            problems[contestant.name] = problem
    turns: dict[str, dict[str, list[float]]] = {}
    sound = [contestant for contestant in everybody if contestant.name not in problems]
    for turn in range(repeat):
        first = turn % max(1, len(sound))
        for contestant in sound[first:] + sound[:first]:
            for call, value in (contestant.ask("measure") or {}).items():
                turns.setdefault(contestant.name, {}).setdefault(call, []).append(value)
    times = {
        name: {call: summary(values) for call, values in by_call.items()}
        for name, by_call in turns.items()
    }
    return {"times": times, "problems": problems}


def median(case: Mapping[str, Any], library: str, call: str) -> float | None:
    """The median of one library's call in milliseconds; None if it was not timed."""
    found = case["times"].get(library, {}).get(call)
    return None if found is None else found["median"]


def ratio(case: Mapping[str, Any], library: str, call: str, ours: str = "bn") -> float | None:
    """A library's time over that of `bn`."""
    theirs, mine = median(case, library, call), median(case, ours, call)
    return None if theirs is None or mine is None else theirs / mine
