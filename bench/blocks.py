"""Time the statistics of dask arrays beside dask's own mean and var, and compare their errors.

``python bench/blocks.py [--gb 4] [--turns 5]``: an array (N, 64) in float32 whose blocks of 64 MB
are made when they are asked for, on two of dask's threads. The contestants take turns in one
process. The figures are medians of the time on the clock, and of the CPU time of all threads, which
other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import dask
import dask.array as da
import numpy as np

import bn

CHANNELS, ROWS = 64, 250_000  # of a block
FAR = 1e6  # the mean, in standard deviations, where the errors are compared


def block(block_id: tuple[int, int], mean: float) -> np.ndarray:
    """Return a block of a few random numbers, again and again, about a mean."""
    rng = np.random.default_rng(block_id[0])
    some = rng.standard_normal(1000 * CHANNELS, np.float32) + np.float32(mean)
    return np.tile(some.reshape(1000, CHANNELS), (ROWS // 1000, 1))


def made(blocks: int, mean: float) -> da.Array:
    chunks = ((ROWS,) * blocks, (CHANNELS,))
    return da.map_blocks(block, chunks=chunks, dtype=np.float32, mean=mean)


def first_value(x: np.ndarray) -> np.ndarray:
    return x[:1, :1].copy()


def contestants(x: da.Array) -> dict[str, Any]:
    """Return a function for each way to the mean and the variance of the channels."""
    ones = tuple((1,) * n for n in x.numblocks)

    def by_dask(dtype: str | None) -> Any:
        return dask.compute(x.mean(0, dtype=dtype), x.var(0, dtype=dtype))

    def with_one_thread() -> Any:
        with bn.threads(1):
            return bn.dask.stats(x)

    return {
        "making the blocks": lambda: x.map_blocks(first_value, chunks=ones).compute(),
        "`bn.dask.stats`": lambda: bn.dask.stats(x),
        "the same within `bn.threads(1)`": with_one_thread,
        "`x.mean(0)`, `x.var(0)`": lambda: by_dask(None),
        'the same with `dtype="f8"`': lambda: by_dask("f8"),
    }


def errors(blocks: int) -> dict[str, tuple[float, float]]:
    """Return the largest errors of mean (in standard deviations) and variance far from zero."""
    x = made(blocks, FAR)
    exact = np.concatenate([block((i, 0), FAR)[:1000].astype(np.float64) for i in range(blocks)])
    mean, var = exact.mean(0), exact.var(0)
    found = {}
    for name, function in list(contestants(x).items())[1:]:
        result = function()
        its_mean, its_var = result if isinstance(result, tuple) else (result.mean, result.var)
        wrong = np.abs(its_mean - mean).max() / np.sqrt(var.min()), np.abs(its_var / var - 1).max()
        found[name] = (float(wrong[0]), float(wrong[1]))
    return found


def main() -> None:
    """Let all take turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=4)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    x = made(max(round(options.gb * 1e9 / (ROWS * CHANNELS * 4)), 1), 0.0)
    functions = contestants(x)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    with dask.config.set(scheduler="threads", num_workers=2):
        for _ in range(options.turns):
            for name, function in functions.items():
                begin, cpu = time.perf_counter(), time.process_time()
                function()
                times[name].append((time.perf_counter() - begin, time.process_time() - cpu))
        wrong = errors(min(x.numblocks[0], 8))
    print(f"{x.nbytes / 1e9:.1f} GB in {x.numblocks[0]} blocks\n")
    print("| | s | CPU s | error of the mean | of the variance |\n|---|---|---|---|---|")
    for name, pairs in times.items():
        clock, cpu = (statistics.median(values) for values in zip(*pairs, strict=True))
        shown = " | ".join(f"{value:.1g}" for value in wrong.get(name, ())) or " | "
        print(f"| {name} | {clock:.1f} | {cpu:.1f} | {shown} |")


if __name__ == "__main__":
    main()
