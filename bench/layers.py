"""Recurrent layers and activations beside PyTorch's, in turns, each in a process of its own.

``python bench/layers.py``: forward and backward in float32. Recurrent layers get 64 sequences of
100 steps, with 128 inputs and 128 hidden values; activations get (32, 64, 56, 56).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import contest
import numpy as np
import results
from contest import Calls
from tables import Cells, number, ratio

SEQUENCES, IMAGES = (100, 64, 128), (32, 64, 56, 56)


@dataclass(frozen=True)
class Layer:
    """A class that both libraries have, what it is made with, and the shape of x."""

    kind: str
    shape: tuple[int, ...] = IMAGES
    common: dict[str, Any] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)
    theirs: dict[str, Any] = field(default_factory=dict)


RECURRENT = {
    kind: Layer(
        kind, SEQUENCES, {"input_size": 128, "hidden_size": 128}, {"return_state": False, "rng": 0}
    )
    for kind in ("LSTM", "GRU", "RNN")
}
ACTIVATIONS = {
    "GELU": Layer("GELU"),
    "GELU by tanh": Layer("GELU", common={"approximate": "tanh"}),
    "SiLU": Layer("SiLU"),
    "ELU": Layer("ELU"),
    "Softplus": Layer("Softplus"),
    "Hardswish": Layer("Hardswish"),
    "PReLU of 64 channels": Layer("PReLU", common={"num_parameters": 64}),
    "LogSoftmax over channels": Layer("LogSoftmax", ours={"axis": 1}, theirs={"dim": 1}),
}


def data(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Draw x and dy."""
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal(shape, np.float32) for _ in range(2))
    return x, dy


def ours(layer: Layer, threads: int) -> Calls:
    import bn
    from bn import nn

    bn.set_num_threads(threads)
    x, dy = data(layer.shape)
    made = getattr(nn, layer.kind)(**layer.common, **layer.ours)

    def step() -> Any:
        made.zero_grad()
        made(x)
        return made.backward(dy)

    return {"step": step}


def pytorch(layer: Layer, threads: int) -> Calls:
    import torch

    torch.set_num_threads(threads)
    x, dy = (torch.from_numpy(array) for array in data(layer.shape))
    x.requires_grad = True
    made = getattr(torch.nn, layer.kind)(**layer.common, **layer.theirs)

    def step() -> Any:
        made.zero_grad()
        x.grad = None
        y = made(x)
        (y[0] if isinstance(y, tuple) else y).backward(dy)
        return x.grad

    return {"step": step}


LIBRARIES = {"bn": ours, "PyTorch": pytorch}


def rows(result: dict[str, Any], some: dict[str, Layer]) -> Cells:
    """Milliseconds of both, and PyTorch's time over that of `bn`."""
    table = [["", *LIBRARIES, "PyTorch / bn"]]
    for case in result["cases"]:
        if case["title"] in some:
            times = (number(contest.median(case, name, "step")) for name in LIBRARIES)
            table.append([case["title"], *times, ratio(contest.ratio(case, "PyTorch", "step"))])
    return table


def main() -> None:
    """Run, print, and write the file."""
    parser = results.parser(__doc__, repeat=5)
    parser.add_argument("--layers", default="", metavar="REGEX", help="those whose title matches")
    options = parser.parse_args()
    cases = {k: v for k, v in (RECURRENT | ACTIVATIONS).items() if re.search(options.layers, k)}
    result = contest.contest(LIBRARIES, cases, options)
    results.finish(
        result,
        {
            "recurrent layers, ms": rows(result, RECURRENT),
            "activations, ms": rows(result, ACTIVATIONS),
        },
        options.json,
    )


if __name__ == "__main__":
    main()
