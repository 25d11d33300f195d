"""Time recurrent layers beside PyTorch's, in turns, each in a process of its own.

``python bench/recurrent.py [--turns 5] [--threads 2]``: forward and backward of 64 sequences of 100
steps, 128 inputs and 128 hidden values, in float32. "CPU" is the time of all threads together,
which other programs on the machine disturb less; compare it with one thread.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

STEPS, BATCH, SIZE = 100, 64, 128
LIBRARIES = ("bn", "torch")


def step_of_bn(kind: str, threads: int) -> Callable[[], object]:
    """Make a function that does one forward and one backward pass with bn."""
    import bn
    from bn import nn

    bn.set_num_threads(threads)
    x, dy = data()
    layer = getattr(nn, kind)(SIZE, SIZE, return_state=False, rng=0)

    def step() -> object:
        layer.zero_grad()
        layer(x)
        return layer.backward(dy)

    return step


def step_of_torch(kind: str, threads: int) -> Callable[[], object]:
    """Make a function that does the same with PyTorch."""
    import torch

    torch.set_num_threads(threads)
    x, dy = (torch.tensor(array) for array in data())
    x.requires_grad = True
    layer = getattr(torch.nn, kind)(SIZE, SIZE)

    def step() -> object:
        layer.zero_grad()
        x.grad = None
        layer(x)[0].backward(dy)
        return x.grad

    return step


def data() -> tuple[np.ndarray, np.ndarray]:
    """Draw x and dy."""
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((STEPS, BATCH, SIZE), np.float32) for _ in range(2))
    return x, dy


def measure(library: str, kind: str, threads: int) -> None:
    """Print the median milliseconds of a step: on the clock, and of the CPU."""
    step = {"bn": step_of_bn, "torch": step_of_torch}[library](kind, threads)
    wall, cpu = [], []
    for _ in range(20):
        begin = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - begin[0])
        cpu.append(time.process_time() - begin[1])
    print(*(1e3 * statistics.median(times[5:]) for times in (wall, cpu)))


def main() -> None:
    """Start the processes, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", nargs=2, metavar=("LIBRARY", "LAYER"))
    given = parser.parse_args()
    if given.one:
        measure(*given.one, given.threads)
        return
    print("| layer | bn, ms | PyTorch, ms | bn / PyTorch | bn, CPU ms | PyTorch, CPU ms |")
    print("|---|---|---|---|---|---|")
    for kind in ("LSTM", "GRU", "RNN"):
        found: dict[str, list[list[float]]] = {library: [] for library in LIBRARIES}
        for _ in range(given.turns):
            for library in LIBRARIES:
                command = [sys.executable, __file__, "--threads", str(given.threads)]
                text = subprocess.check_output([*command, "--one", library, kind], text=True)
                found[library].append([float(word) for word in text.split()])
        ours, theirs = (
            [statistics.median(column) for column in zip(*found[library], strict=True)]
            for library in LIBRARIES
        )
        ratio = ours[0] / theirs[0]
        print(f"| {kind} | {ours[0]:.1f} | {theirs[0]:.1f} | {ratio:.2f} ", end="")
        print(f"| {ours[1]:.1f} | {theirs[1]:.1f} |")


if __name__ == "__main__":
    main()
