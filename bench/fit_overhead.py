"""What `nn.fit` takes beside the loop that one writes oneself.

``OMP_NUM_THREADS=1 python bench/fit_overhead.py``: both train the same network on the same batches,
one epoch in each turn. Times are the CPU time of one thread, which other programs change little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import machine
import networks
import numpy as np
import results
import rounds
from tables import Cells, number
from trainers.ours import sequential

import bn
from bn import nn

PIXELS, HIDDEN = 784, 128  # of the MLP
MLP = "MLP, 784-128-10 with batch normalization"
WAYS = ("loop", "loop with accuracy", "nn.fit")
BATCH = 64


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
        for x, y in nn.BatchLoader(*data, BATCH, rng=0):
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
            model, data, epochs=1, criterion=criterion, optimizer=optimizer, batch_size=BATCH,
            rng=0, progress=False,
        )  # fmt: skip

    return dict(zip(WAYS, (lambda: loop(False), lambda: loop(True), fit), strict=True))


def rows(result: dict[str, Any]) -> Cells:
    """Milliseconds of a step, and by how much `fit` is over the loops."""
    table = [["", *WAYS, "over the loop", "over the loop with accuracy"]]
    for title, calls in result["networks"].items():
        steps = [calls[way]["cpu"]["median"] for way in WAYS]
        over = (f"{100 * (steps[-1] / step - 1):+.1f} %" for step in steps[:-1])
        table.append([title, *map(number, steps), *over])
    return table


def main(argv: list[str] | None = None) -> None:
    """Let all take turns, print a table, and write the file."""
    options = results.parser(__doc__, repeat=15).parse_args(argv)
    usage = machine.Usage()
    bn.set_num_threads(1)
    found = {}
    for title, make in (("ResNet-20", resnet20), (MLP, mlp)):
        model, data = make()
        calls = ways(model, data)
        rounds.in_turns(calls, 1)
        found[title] = per_step(rounds.in_turns(calls, options.repeat), -(-len(data[1]) // BATCH))
    about = machine.describe(1, ["bn"]) | usage.so_far()
    result = {"machine": about, "unit": "ms", "networks": found}
    results.finish(result, {"a step, ms of the CPU": rows(result)}, options.json)


def per_step(times: dict[str, dict[str, Any]], steps: int) -> dict[str, dict[str, Any]]:
    """The times of epochs divided by the steps of an epoch."""
    return {
        way: {
            kind: rounds.summary([turn / steps for turn in found["turns"]])
            for kind, found in by_kind.items()
        }
        for way, by_kind in times.items()
    }


if __name__ == "__main__":
    main()
