"""What `nn.fit` takes beside the loop that one writes oneself: ``python bench/fit_overhead.py``.

Both train the same network on the same batches, one epoch in each turn; medians of a step. Times
are the CPU time of one thread, which other programs change little.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import networks
import numpy as np
from trainers.ours import sequential

import bn
from bn import nn

PIXELS, HIDDEN = 784, 128  # of the MLP


def resnet20() -> tuple[nn.Sequential, tuple[np.ndarray, np.ndarray]]:
    """The network, and 12 batches of 64."""
    network = next(n for n in networks.NETWORKS if n.name == "ResNet-20")
    images, classes = zip(*networks.batches(network), strict=True)
    model = sequential(network.layers, iter(networks.weights(network)))
    return model, (np.concatenate(images * 3), np.concatenate(classes * 3))


def mlp() -> tuple[nn.Sequential, tuple[np.ndarray, np.ndarray]]:
    """784 values, 128 hidden ones, 10 classes; 200 batches of 64."""
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Linear(PIXELS, HIDDEN, rng=0), bn.BatchNorm1d(HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, 10, rng=1),
    )  # fmt: skip
    x = rng.standard_normal((12_800, PIXELS), np.float32)
    return model, (x, rng.integers(10, size=len(x)))


def ways(
    model: nn.Sequential, data: tuple[np.ndarray, np.ndarray]
) -> dict[str, Callable[[], object]]:
    """One epoch by a loop, by the loop with its accuracy, and by `fit`."""
    criterion = nn.CrossEntropyLoss()
    optimizer = nn.SGD(model.parameters(), lr=1e-4, momentum=networks.MOMENTUM)

    def loop(counts: bool) -> float:
        right = 0
        for x, y in nn.BatchLoader(*data, 64, rng=0):
            optimizer.zero_grad()
            out = model(x)
            criterion(out, y)
            model.backward(criterion.backward(), input_grad=False)
            optimizer.step()
            if counts:
                right += int((out.argmax(axis=1) == y).sum())
        return right / len(data[1])

    def fit() -> object:
        return nn.fit(
            model, data, epochs=1, criterion=criterion, optimizer=optimizer, batch_size=64, rng=0,
            progress=False,
        )  # fmt: skip

    return {"loop": lambda: loop(False), "with accuracy": lambda: loop(True), "nn.fit": fit}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=15)
    turns = parser.parse_args(argv).turns
    bn.set_num_threads(1)
    for name, make in (("ResNet-20", resnet20), ("MLP", mlp)):
        model, data = make()
        calls = ways(model, data)
        times: dict[str, list[float]] = {way: [] for way in calls}
        for call in calls.values():
            call()
        for turn in range(turns):
            order = list(calls)
            for way in order[turn % 3 :] + order[: turn % 3]:
                begin = time.process_time()
                calls[way]()
                times[way].append((time.process_time() - begin) * 64e3 / len(data[1]))
        found = {way: statistics.median(values) for way, values in times.items()}
        told = ", ".join(f"{way} {value:.3f}" for way, value in found.items())
        over = {way: found["nn.fit"] / found[way] - 1 for way in ("loop", "with accuracy")}
        print(f"{name}: ms of a step: {told}; nn.fit over", end=" ")
        print(", ".join(f"{way}: {value:+.1%}" for way, value in over.items()))


if __name__ == "__main__":
    main()
