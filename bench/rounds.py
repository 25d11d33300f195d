"""Contestants that take turns, and what is told of their times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from worker import Contestant

PATIENCE, FEWEST = 40, 3  # s for the turns of one network, but at least so many rounds


def turns(contestants: list[Contestant], repeat: int, end: float) -> dict[str, list[float]]:
    """Let all measure `repeat` times in turns (no new round after `end`): medians in ms."""
    times: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    patience = time.perf_counter() + PATIENCE
    for turn in range(repeat):
        now = time.perf_counter()
        if (turn > 0 and now > end) or (turn >= FEWEST and now > patience):
            break
        first = turn % len(contestants)
        for contestant in contestants[first:] + contestants[:first]:
            if contestant.missing is None:
                value = contestant.ask("measure")
                times[contestant.name] += [] if value is None else [value]
    return {name: values for name, values in times.items() if values}


def in_turns(
    calls: Mapping[str, Callable[[], Any]], repeat: int, count: int = 1
) -> dict[str, dict[str, Any]]:
    """Let calls of one process take turns: ms on the clock, and of the CPU time of all threads.

    Other programs on the machine disturb the CPU time less. In a turn a call is made `count` times,
    after one that fills the caches if there are more than one.
    """
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(repeat):
        names = list(calls)
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            if count > 1:
                calls[name]()
            begin, cpu = time.perf_counter(), time.process_time()
            for _ in range(count):
                calls[name]()
            spent = time.perf_counter() - begin, time.process_time() - cpu
            times[name].append((1e3 * spent[0] / count, 1e3 * spent[1] / count))
    return {
        name: dict(zip(("clock", "cpu"), map(summary, zip(*pairs, strict=True)), strict=True))
        for name, pairs in times.items()
    }


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median and quartiles over the turns."""
    q25, median, q75 = np.percentile(values, [25, 50, 75]).tolist()
    return {"median": median, "q25": q25, "q75": q75, "turns": list(values)}
