"""What each normalization costs: ``python bench/choosing.py`` prints milliseconds of its passes.

Layers take turns, on all cores; medians. The copy is what reading x and writing y alone takes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import bn

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


def milliseconds(call: Callable[[], Any]) -> float:
    call()
    begin = time.perf_counter()
    for _ in range(CALLS):
        call()
    return 1e3 * (time.perf_counter() - begin) / CALLS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=15)
    turns = parser.parse_args().turns
    calls = {name: passes(shape, make()) for name, (shape, make) in LAYERS.items()}
    times: dict[str, dict[str, list[float]]] = {
        name: {each: [] for each in by_pass} for name, by_pass in calls.items()
    }
    for _ in range(turns):
        for name, by_pass in calls.items():
            for each, call in by_pass.items():
                times[name][each].append(milliseconds(call))
    columns = list(times["LayerNorm"])
    print(f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns), sep="\n")
    for name, by_pass in times.items():
        cells = [f"{statistics.median(values):.2f}" for values in by_pass.values()]
        print(f"| `{name}` of {LAYERS[name][0]} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
