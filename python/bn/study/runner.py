"""Goes through the measurements of studies, on all cores, and stops when time is up."""

from __future__ import annotations

import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple, Protocol

import numpy as np

import bn
from bn.study.plan import Study
from bn.study.results import Measured, Record, Setting, rounded
from bn.study.store import Store


class Cell(NamedTuple):
    """A setting of a study that is measured with a seed."""

    study: Study
    setting: Setting
    seed: int


class Watcher(Protocol):
    """An object that is told how a study goes."""

    def begin(self, study: Study, total: int, done: int) -> None: ...
    def step(self) -> None: ...


def run(
    studies: Sequence[Study],
    store: Store,
    watcher: Watcher,
    *,
    seeds: int | None = None,
    minutes: float | None = None,
    jobs: int = 1,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Measure what the store does not have.

    Each measurement runs on one thread, `jobs` of them at once, in processes of their own unless
    `jobs` is 1. All settings with one seed come before those with the next seed, so that a study
    that is out of time has fewer seeds, but all settings.

    Parameters
    ----------
    studies : sequence of Study
    store : Store
        Gets the measurements, and is saved at the end of each study.
    watcher : Watcher
    seeds : int, optional
        By default as many as each study wants, or one if the store is quick.
    minutes : float, optional
        For all studies, divided as their own budgets are. Without it a full study has its own
        budget, and a quick one none.
    jobs : int
    stopped : callable
        Tells whether to begin no further measurement.
    """
    budgets = _budgets(studies, store.quick, minutes)
    with _workers(jobs) as measuring:
        for study, seconds in zip(studies, budgets, strict=True):
            cells = planned(study, store.quick, seeds)
            left = [c for c in cells if not store.has(study.name, c.setting, c.seed)]
            watcher.begin(study, len(cells), len(cells) - len(left))
            try:
                for cell, measured, took in measuring(left, _over(stopped, seconds)):
                    store.add(study.name, Record(cell.setting, cell.seed, round(took, 2), measured))
                    watcher.step()
            finally:
                store.save()
            if stopped():
                return


def _over(stopped: Callable[[], bool], seconds: float) -> Callable[[], bool]:
    """Whether it was stopped, or so many seconds have passed from now on."""
    end = time.monotonic() + seconds
    return lambda: stopped() or time.monotonic() > end


def planned(study: Study, quick: bool, seeds: int | None = None) -> list[Cell]:
    """What is measured, the settings with the first seed first."""
    number = seeds or wanted_seeds(study, quick)
    settings = study.settings(quick)
    return [Cell(study, setting, seed) for seed in range(number) for setting in settings]


def wanted_seeds(study: Study, quick: bool) -> int:
    """How many seeds a study has unless something else is asked for."""
    return 1 if quick else study.seeds


def _budgets(studies: Sequence[Study], quick: bool, minutes: float | None) -> list[float]:
    """The seconds of each study."""
    if minutes is None:
        return [float("inf") if quick else 60 * study.minutes for study in studies]
    total = sum(study.minutes for study in studies)
    return [60 * minutes * study.minutes / total for study in studies]


# ---- one after the other, or several at once ----

Done = tuple[Cell, Measured, float]
Measuring = Callable[[Sequence[Cell], Callable[[], bool]], Iterator[Done]]


@contextmanager
def _workers(jobs: int) -> Iterator[Measuring]:
    """A function that measures cells and yields what was found, until time is over."""
    if jobs == 1:
        yield _one_by_one
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), _begin_worker) as pool:
        yield partial(_at_once, pool, jobs)


def _one_by_one(cells: Sequence[Cell], over: Callable[[], bool]) -> Iterator[Done]:
    for cell in cells:
        if over():
            return
        yield _measure(cell)


def _at_once(
    pool: ProcessPoolExecutor, jobs: int, cells: Sequence[Cell], over: Callable[[], bool]
) -> Iterator[Done]:
    left = iter(cells)
    running: set[Future[Done]] = set()
    while True:
        # One more than run waits, so that no worker does.
        while len(running) <= jobs and not over() and (cell := next(left, None)) is not None:
            running.add(pool.submit(_measure, cell))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one decides


def _measure(cell: Cell) -> Done:
    begin = time.process_time()  # which does not count the time that other processes take
    # Some studies have small batches on purpose, and some trainings diverge.
    with bn.threads(1), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", bn.SmallBatchWarning)
        warnings.simplefilter("ignore", bn.NonFiniteWarning)
        measured = cell.study.measure(cell.setting, cell.seed)
    return cell, rounded(measured), time.process_time() - begin
