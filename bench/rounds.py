"""Contestants that take turns, and what is told of their times."""

from __future__ import annotations

import time
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


def summary(values: list[float]) -> dict[str, Any]:
    """Median and quartiles over the turns."""
    q25, median, q75 = np.percentile(values, [25, 50, 75]).tolist()
    return {"median": median, "q25": q25, "q75": q75, "turns": values}
