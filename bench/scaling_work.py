"""What one rank does for `scaling.py`, which starts it under mpiexec.

All ranks are there from the beginning. A measurement takes the first ones; the others sleep. So
different numbers of ranks can take turns.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import networks
import numpy as np
from trainers.ours import sequential
from transports import Copies, Counting, Late, wait

import bn
from bn import nn

SYNCHRONIZED, GRADIENTS, APART = "synchronized", "gradients only", "apart"
MERGING, ADDING = "merging copies", "adding copies"
FEWEST, MOST = 2, 50  # steps of one measurement
TIMED, TIMED_QUICK = 0.3, 0.03  # s
SIZES = (416, 4096, 8192, 16384, 49184)  # bytes of an exchange by itself
EXCHANGES = 1000
DELAYS = (0.0, 1e-4, 1e-3, 1e-2)  # s
# How many ranks' numbers one rank merges and adds, without a network.
MERGED, ADDED = 512, 64


@dataclass(frozen=True)
class Case:
    """One measurement: a network, or the channels of a layer by itself, and what ranks exchange.

    `batch` is that of one rank. `delay` is in seconds.
    """

    network: str
    channels: int
    batch: int
    ranks: int
    mode: str = SYNCHRONIZED
    delay: float = 0.0


def cases(quick: bool) -> list[Case]:
    """All measurements, each once."""
    network, batch = ("conv 16", 16) if quick else ("ResNet-20", 32)
    training, layer = Case(network, 0, batch, 2), Case("", 64, batch, 2)
    wide = [replace(layer, channels=channels) for channels in (2048, 32768)]
    found = []
    for ranks in (1, 2) if quick else (1, 2, 4):
        for case in (training, layer):
            weak = replace(case, ranks=ranks)
            found += [weak, replace(weak, mode=APART), replace(weak, batch=2 * batch // ranks)]
    local = replace(training, mode=GRADIENTS)
    for case in (training, local, layer, *wide):
        found.append(replace(case, mode=APART))
        found += [replace(case, delay=delay) for delay in DELAYS]
    alone = replace(training, ranks=1)
    found += [replace(alone, mode=mode) for mode in (MERGING, ADDING)]
    return list(dict.fromkeys(found))


class Rank:
    """A rank that makes the steps of one case."""

    def __init__(self, case: Case, comm: Any, timed: float) -> None:
        mpi = Late(bn.mpi.Communicator(comm), case.delay) if case.delay else comm
        kinds = {
            SYNCHRONIZED: (mpi, mpi),
            GRADIENTS: (Copies(1), mpi),
            APART: (Copies(1), Copies(1)),
            MERGING: (Copies(MERGED), Copies(1)),
            ADDING: (Copies(1), Copies(ADDED)),
        }
        self.case, self.comm = case, comm
        self.layers, self.others = (Counting(_transport(each)) for each in kinds[case.mode])
        self.step = self._training() if case.network else self._layer()
        self.step()
        counts = self._counts()
        begin = time.perf_counter()
        self.step()
        seconds = comm.allreduce(time.perf_counter() - begin) / comm.size
        self.counts = self._counts() - counts
        self._steps = min(MOST, max(FEWEST, int(timed / seconds)))

    def _training(self) -> Callable[[], None]:
        network = next(n for n in networks.NETWORKS if n.name == self.case.network)
        network = replace(network, batch=self.case.batch)
        images, classes = next(networks.batches(network, seed=self.comm.rank))
        model = sequential(network.layers, iter(networks.weights(network)))
        parallel = nn.DataParallel(bn.synchronize(model, self.layers), self.others)
        optimizer = nn.SGD(model.parameters(), network.lr, networks.MOMENTUM)
        criterion = nn.CrossEntropyLoss()

        def step() -> None:
            optimizer.zero_grad()
            parallel.gradients(criterion, images, classes)
            optimizer.step()

        return step

    def _layer(self) -> Callable[[], None]:
        case = self.case
        image = (16, 16) if case.channels == 64 else ()
        rng = np.random.default_rng(self.comm.rank)
        x = rng.standard_normal((case.batch, case.channels, *image), np.float32)
        layer: Any = bn.BatchNorm2d(case.channels) if image else bn.BatchNorm1d(case.channels)
        bn.synchronize(layer, self.layers)

        def step() -> None:
            layer(x)
            layer.zero_grad()
            layer.backward(x)

        return step

    def _counts(self) -> np.ndarray:
        """Messages, bytes sent and bytes received, of layers and of the rest."""
        return np.array([[c.messages, c.sent, c.received] for c in (self.layers, self.others)])

    def measure(self) -> dict[str, float]:
        """Seconds of the fastest step and of the median one, and the parts in exchanges.

        The first part is that of layers, the second one that of the rest.
        """
        self.step()  # the caches hold what the others left
        self.comm.Barrier()
        before, times = [self.layers.seconds, self.others.seconds], []
        for _ in range(self._steps):
            begin = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - begin)
        inside = np.array([self.layers.seconds, self.others.seconds]) - before
        found = [min(times), statistics.median(times), *(inside / sum(times))]
        means = np.mean(self.comm.allgather(found), axis=0).tolist()
        return dict(zip(("seconds", "median", "layers", "others"), means, strict=True))


def _transport(comm: Any) -> Any:
    return bn.mpi.Communicator(comm) if hasattr(comm, "Get_rank") else comm


def turns(world: Any, chosen: list[Case], repeat: int, timed: float) -> Iterator[dict[str, Any]]:
    """Let all cases take turns of so many seconds; on rank 0, the results of each."""
    from mpi4py import MPI

    comms = {n: world.Split(0 if world.rank < n else MPI.UNDEFINED) for n in range(1, 5)}
    ranks: dict[Case, Rank] = {}
    found: dict[Case, list[dict[str, float]]] = {case: [] for case in chosen}
    for _ in range(repeat):
        for case in chosen:
            if world.rank < case.ranks:
                if case not in ranks:
                    ranks[case] = Rank(case, comms[case.ranks], timed)
                found[case].append(ranks[case].measure())
            asleep(world)
    if world.rank == 0:
        for case, values in found.items():
            told = {k: statistics.median(each[k] for each in values) for k in values[0]}
            told["seconds"] = min(each["seconds"] for each in values)
            yield asdict(case) | told | {"counts": ranks[case].counts.tolist()}


def asleep(world: Any) -> None:
    """Wait for all ranks without using a core."""
    request = world.Ibarrier()
    while not request.Test():
        time.sleep(1e-3)


def delays() -> list[tuple[float, float]]:
    """What is asked of `wait`, and the median of what it takes."""
    found = []
    for delay in DELAYS:
        times = []
        for _ in range(20):
            begin = time.perf_counter()
            wait(delay)
            times.append(time.perf_counter() - begin)
        found.append((delay, statistics.median(times)))
    return found


def exchanges(comm: Any) -> list[tuple[int, float]]:
    """The median seconds of an exchange of so many bytes between the ranks."""
    transport, found = bn.mpi.Communicator(comm), []
    for size in SIZES:
        times = []
        for _ in range(EXCHANGES):
            begin = time.perf_counter()
            transport.allgather(np.zeros(size, np.uint8), 60)
            times.append(time.perf_counter() - begin)
        found.append((size, statistics.median(times)))
    return found


def small_calls(comm: Any) -> list[tuple[int, float, float]]:
    """Channels, and the median seconds of a layer's forward pass alone and synchronized."""
    found = []
    for channels in (64, 2048):
        alone, together = bn.BatchNorm1d(channels), bn.BatchNorm1d(channels)
        bn.synchronize(together, comm)
        x = np.ones((32, channels), np.float32)
        times: dict[Any, list[float]] = {alone: [], together: []}
        for layer in (alone, together) * (EXCHANGES // 2):
            begin = time.perf_counter()
            layer(x)
            times[layer].append(time.perf_counter() - begin)
        found.append((channels, *map(statistics.median, times.values())))
    return found


def main() -> None:
    from mpi4py import MPI

    path, chosen, repeat = sys.argv[1:]
    quick = chosen == "quick"
    world = MPI.COMM_WORLD
    bn.set_num_threads(1)
    waits = delays()
    results = list(turns(world, cases(quick), int(repeat), TIMED_QUICK if quick else TIMED))
    pair = world.Split(0 if world.rank < 2 else 1)
    first = world.rank < 2
    alone = {"exchanges": exchanges(pair), "calls": small_calls(pair)} if first else {}
    asleep(world)
    if world.rank == 0:
        Path(path).write_text(json.dumps({"cases": results, "waits": waits} | alone))


if __name__ == "__main__":
    main()
