"""Whether all contestants train alike: their losses over the first steps."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

# Libraries round float32 differently, and training amplifies it, most of all where a value near 0
# changes its side of a ReLU: bn and PyTorch's two formats were apart by 2e-5 at most. If the
# backward pass of the first normalization is wrong by a tenth, the losses of a network change by
# 9e-5 or more. The tolerance lies between the two.
TOLERANCE = 5e-5


def deviations(losses: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """How far each contestant's losses are from the median of all, at the worst step.

    The difference is relative to the median, or absolute where the median is below 1. A loss that
    is not finite makes it infinite.
    """
    off = dict.fromkeys(losses, 0.0)
    for step in zip(*losses.values(), strict=True):
        middle = statistics.median(step)
        for name, loss in zip(losses, step, strict=True):
            difference = abs(loss - middle) / max(1.0, abs(middle))
            off[name] = max(off[name], difference if difference < float("inf") else float("inf"))
    return off


def complaints(off: Mapping[str, float]) -> dict[str, str]:
    """What is to be said about each contestant that disagrees."""
    return {
        name: f"its losses disagree with the median of all by {value:.1e}, "
        f"more than {TOLERANCE:.0e} is allowed"
        for name, value in off.items()
        if not value <= TOLERANCE
    }
