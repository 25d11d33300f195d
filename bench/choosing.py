"""What each normalization costs.

``python bench/choosing.py``: milliseconds of the passes of layers, which take turns. The copy is
what reading x and writing y alone takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import machine
import numpy as np
import results
import rounds
from tables import Cells, number

import bn

PASSES = ("forward", "forward and backward", "evaluation", "copy")
IMAGES, ROWS = (32, 64, 56, 56), (8192, 768)
CALLS = 5  # in a turn, after one that fills the caches

LAYERS: dict[str, tuple[tuple[int, ...], Callable[[], Any]]] = {
    "BatchNorm2d": (IMAGES, lambda: bn.BatchNorm2d(IMAGES[1])),
    "InstanceNorm2d": (IMAGES, lambda: bn.InstanceNorm2d(IMAGES[1], affine=True)),
    "GroupNorm(32)": (IMAGES, lambda: bn.GroupNorm(32, IMAGES[1])),
    "BatchNorm1d": (ROWS, lambda: bn.BatchNorm1d(ROWS[1])),
    "LayerNorm": (ROWS, lambda: bn.LayerNorm(ROWS[1])),
    "RMSNorm": (ROWS, lambda: bn.RMSNorm(ROWS[1])),
}


def passes(shape: tuple[int, ...], layer: Any) -> dict[str, Callable[[], Any]]:
    """The calls of one layer: forward and backward in training, and evaluation."""
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(shape, np.float32) for _ in range(2))
    layer(x)

    def backward() -> None:
        layer(x)
        layer.zero_grad()
        layer.backward(dy)

    def evaluation() -> Any:
        layer.eval()
        y = layer(x)
        layer.train()
        return y

    return {
        "forward": lambda: layer(x),
        "forward and backward": backward,
        "evaluation": evaluation,
        "copy": x.copy,
    }


def rows(result: dict[str, Any]) -> Cells:
    """Milliseconds of the passes."""
    table = [["", *PASSES]]
    for name, (shape, _) in LAYERS.items():
        times = (result["calls"][f"{name}, {each}"]["clock"]["median"] for each in PASSES)
        table.append([f"`{name}` of {shape}", *map(number, times)])
    return table


def main() -> None:
    """Let all take turns, print a table, and write the file."""
    options = results.parser(__doc__, repeat=15).parse_args()
    bn.set_num_threads(options.threads)
    usage = machine.Usage()
    calls = {
        f"{name}, {each}": call
        for name, (shape, make) in LAYERS.items()
        for each, call in passes(shape, make()).items()
    }
    measured = rounds.in_turns(calls, options.repeat, CALLS)
    about = machine.describe(options.threads, ["bn"]) | usage.so_far()
    result = {"machine": about, "unit": "ms", "calls": measured}
    results.finish(result, {"ms": rows(result)}, options.json)


if __name__ == "__main__":
    main()
