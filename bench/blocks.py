"""Statistics of dask arrays beside dask's own mean and var, and the errors of both.

``python bench/blocks.py``: an array (N, 64) in float32 whose blocks of 64 MB are made when they are
asked for, on dask's threads. All take turns in one process.
"""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import machine
import numpy as np
import results
import rounds
from tables import Cells, number, power

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
        "making the blocks, for nothing": lambda: x.map_blocks(first_value, chunks=ones).compute(),
        "`bn.dask.stats(x)`": lambda: bn.dask.stats(x),
        "the same within `bn.threads(1)`": with_one_thread,
        "`x.mean(0)` and `x.var(0)`, computed together": lambda: by_dask(None),
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


def rows(result: dict[str, Any]) -> Cells:
    """Seconds on the clock and of the CPU time, and the errors far from zero."""
    table = [["", "s", "CPU s", "error of the mean", "of the variance"]]
    for name, times in result["calls"].items():
        seconds = (times[kind]["median"] / 1e3 for kind in ("clock", "cpu"))
        errors = result["errors"].get(name, ("", ""))
        table.append([name, *map(number, seconds), *(e if e == "" else power(e) for e in errors)])
    return table


def main() -> None:
    """Let all take turns, print a table, and write the file."""
    parser = results.parser(__doc__, repeat=5)
    parser.add_argument("--gb", type=float, default=4)
    options = parser.parse_args()
    usage = machine.Usage()
    x = made(max(round(options.gb * 1e9 / (ROWS * CHANNELS * 4)), 1), 0.0)
    with dask.config.set(scheduler="threads", num_workers=options.threads):
        calls = rounds.in_turns(contestants(x), options.repeat)
        wrong = errors(min(x.numblocks[0], 8))
    about = machine.describe(options.threads, ["bn", "dask"]) | usage.so_far()
    size = {"GB": x.nbytes / 1e9, "blocks": x.numblocks[0]}
    result = {"machine": about, "unit": "ms", **size, "calls": calls, "errors": wrong}
    results.finish(result, {"statistics of {GB:.1f} GB".format(**size): rows(result)}, options.json)


if __name__ == "__main__":
    main()
