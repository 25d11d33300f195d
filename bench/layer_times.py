"""Where the time of `bn`'s training steps goes: forward and backward of each layer.

The methods of each layer object are wrapped from outside, so the library needs no hooks. It then
computes each layer by itself, so that the step takes longer than without these times.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

from trainers.ours import Ours

from bn import nn

Times = defaultdict[tuple[str, str], list[float]]  # path of a layer and "forward" or "backward"

OPTIMIZER, REST, STEP = "optimizer", "loss, additions", "step"


class Row(NamedTuple):
    """Medians in ms; only layers have both directions."""

    path: str
    kind: str
    weight: str  # its shape
    forward: float | None
    backward: float | None
    total: float


def measure(trainer: Ours, step: Callable[[], Any], steps: int) -> list[Row]:
    """Time some steps, layer by layer, and leave the trainer as it was.

    Returns
    -------
    list of Row
        One for each layer that has none inside it; then the optimizer, what is left, and the step.
    """
    layers = {
        path: layer
        for path, layer in trainer.model.named_modules()
        if type(layer).backward is not nn.Module.backward  # the others are calls of these
    }
    times: Times = defaultdict(list)
    for path, layer in layers.items():
        for method in ("forward", "backward"):
            _watch(layer, method, times[path, method])
    _watch(trainer.optimizer, "step", times[OPTIMIZER, "step"])
    try:
        for _ in range(steps):
            begin = time.perf_counter()
            step()
            times[STEP, "step"].append((time.perf_counter() - begin) * 1e3)
    finally:
        for layer in layers.values():
            del layer.forward, layer.backward
        del trainer.optimizer.step
    whole = times.pop((STEP, "step"))
    parts = [sum(of_step) for of_step in zip(*times.values(), strict=True)]
    times[REST, "step"] = [a - b for a, b in zip(whole, parts, strict=True)]
    times[STEP, "step"] = whole
    return _rows(layers, {key: statistics.median(values) for key, values in times.items()})


def _watch(thing: Any, method: str, times: list[float]) -> None:
    """Put a method into the object that also notes how long the class's own one takes."""
    original = getattr(thing, method)

    @wraps(original)
    def timed(*args: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        try:
            return original(*args, **options)
        finally:
            times.append((time.perf_counter() - begin) * 1e3)

    setattr(thing, method, timed)


def _rows(layers: dict[str, Any], medians: dict[tuple[str, str], float]) -> list[Row]:
    rows = []
    for path, layer in layers.items():
        weight = "x".join(map(str, layer.weight.shape)) if hasattr(layer, "weight") else ""
        forward, backward = medians[path, "forward"], medians[path, "backward"]
        kind = type(layer).__name__
        rows.append(Row(path, kind, weight, forward, backward, forward + backward))
    ends = [(name, medians[name, "step"]) for name in (OPTIMIZER, REST, STEP)]
    return rows + [Row("", name, "", None, None, value) for name, value in ends]


def by_kind(rows: list[Row]) -> list[Row]:
    """The sums for all layers of a kind, then what is no layer, as in `rows`."""
    sums: dict[str, Row] = {}
    for row in rows:
        if row.forward is not None and row.backward is not None:
            old = sums.get(row.kind, Row("", row.kind, "", 0.0, 0.0, 0.0))
            forward, backward = (old.forward or 0) + row.forward, (old.backward or 0) + row.backward
            sums[row.kind] = Row("", row.kind, "", forward, backward, forward + backward)
    return [*sums.values(), *(row for row in rows if row.forward is None)]
