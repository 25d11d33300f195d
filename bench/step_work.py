"""What a worker does for `train_step.py`: it trains one network with one library."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import layer_times
import machine
import networks
import trainers
from networks import Network
from worker import one_line, rest

CHECKED = 10  # steps whose losses are compared
WARM, TIMED, FEWEST = 1, 0.15, 2  # steps before timing; s and steps of timing


@dataclass(frozen=True)
class Start:
    """What the first steps gave: their losses and the memory they took, or why they failed."""

    losses: tuple[float, ...] = ()
    peak: int | None = None
    problem: str | None = None


class Work:
    """One contestant; its methods are the commands of a worker.

    Parameters
    ----------
    key : str
        A name in `trainers.TRAINERS`.
    threads : int
        How many it may use.
    """

    def __init__(self, key: str, threads: int) -> None:
        self._trainer = trainers.load(key)(threads)
        self._steps = 0

    def start(self, network: Network) -> Start:
        """Build a network, and train for the first steps."""
        try:
            build(self._trainer, network)
            memory = machine.Memory()
            losses = tuple(self._step() for _ in range(CHECKED))
            return Start(losses, memory.peak())
        except Exception as error:  # a framework may raise anything
            return Start(problem=one_line(error))
        finally:
            rest()

    def measure(self) -> float:
        """The median time of a few steps in ms."""
        for _ in range(WARM):  # the caches hold what the others left
            self._step()
        times: list[float] = []
        end = time.perf_counter() + TIMED
        while len(times) < FEWEST or time.perf_counter() < end:
            begin = time.perf_counter()
            self._step()
            times.append((time.perf_counter() - begin) * 1e3)
        rest()
        return statistics.median(times)

    def profile(self, steps: int) -> list[layer_times.Row]:
        """Where the time of a step goes; only `bn` can tell."""
        rows = layer_times.measure(self._trainer, self._step, steps)
        rest()
        return rows

    def _step(self) -> float:
        self._steps += 1
        return self._trainer.step(self._steps % networks.BATCHES)


def build(trainer: trainers.Trainer, network: Network) -> None:
    """Give a contestant the network with the weights and batches that all contestants get."""
    trainer.build(network, networks.weights(network), list(networks.batches(network)))
