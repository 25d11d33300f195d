"""What a worker does for `inference.py`: it predicts with one network of one library."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import networks
import numpy as np
import predictors
from networks import Network
from worker import one_line, rest

WARM, TIMED, FEWEST = 3, 0.15, 5  # predictions before timing; s and predictions of timing


@dataclass(frozen=True)
class Answer:
    """What the network makes of the first images, or why it does not."""

    outputs: np.ndarray | None = None
    problem: str | None = None


class Work:
    """One contestant; its methods are the commands of a worker.

    Parameters
    ----------
    key : str
        A name in `predictors.PREDICTORS`.
    threads : int
        How many it may use.
    """

    def __init__(self, key: str, threads: int) -> None:
        self._predictor = predictors.load(key)(threads)

    def start(self, network: Network) -> Answer:
        """Build a network, and predict once."""
        try:
            self._predictor.build(network, networks.weights(network))
            images, _ = next(networks.batches(network))
            self._images = self._predictor.put(images)
            return Answer(np.array(self._predictor.predict(self._images)))
        except Exception as error:  # a framework may raise anything
            return Answer(problem=one_line(error))
        finally:
            rest()

    def measure(self) -> float:
        """The median time of a few predictions in ms."""
        for _ in range(WARM):  # the caches hold what the others left
            self._predictor.predict(self._images)
        times: list[float] = []
        end = time.perf_counter() + TIMED
        while len(times) < FEWEST or time.perf_counter() < end:
            begin = time.perf_counter()
            self._predictor.predict(self._images)
            times.append((time.perf_counter() - begin) * 1e3)
        rest()
        return statistics.median(times)
