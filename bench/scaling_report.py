"""From the cases of `scaling_work.py` to rows of scaling, the fitted model, and steps on paper.

All of it is of the fastest steps: other programs only add to a step, and the more ranks wait for
each other, the more they add.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cost_model
from cost_model import Exchanges, Measured, Model, Paper
from scaling_work import ADDED, ADDING, APART, MERGED, MERGING, SYNCHRONIZED

WEAK, STRONG = "weak", "strong"
CHECKED = 5e-3  # s: longer delays are predicted, not fitted


@dataclass(frozen=True)
class Row:
    """One number of ranks.

    Attributes
    ----------
    what, kind : str
        The network or layer, and WEAK (the same batch on each rank) or STRONG (the same in all).
    ranks, batch : int
        The batch is that of one rank.
    seconds, median : float
        Of the fastest step, and of the median one.
    apart : float or None
        Seconds of the fastest step without exchanges.
    speed : float
        Samples per second over those of one rank.
    messages, sent, received : int
        In a step; bytes of one rank.
    layers, others : float
        The parts of the step in exchanges of layers, and of gradients and losses.
    """

    what: str
    kind: str
    ranks: int
    batch: int
    seconds: float
    median: float
    apart: float | None
    speed: float
    messages: int
    sent: int
    received: int
    layers: float
    others: float


def title(case: dict[str, Any]) -> str:
    """A network or a layer in words."""
    what = case["network"] or f"layer of {case['channels']} channels"
    return what if case["mode"] == SYNCHRONIZED else f"{what}, {case['mode']}"


def rows(result: dict[str, Any]) -> list[Row]:
    """Those of weak and of strong scaling, in the order of the ranks."""
    plain = [c for c in result["cases"] if c["mode"] == SYNCHRONIZED and not c["delay"]]
    found = []
    for what in dict.fromkeys(title(case) for case in plain if case["ranks"] == 1):
        own = {(case["ranks"], case["batch"]): case for case in plain if title(case) == what}
        batch = min(batch for ranks, batch in own if ranks == 1)
        for kind, of_one in ((WEAK, batch), (STRONG, 2 * batch)):
            for ranks in dict.fromkeys(ranks for ranks, _ in own):
                case = own[ranks, batch if kind == WEAK else of_one // ranks]
                found.append(_row(what, kind, case, own[1, of_one], apart(result, case)))
    return found


def _row(
    what: str, kind: str, case: dict[str, Any], first: dict[str, Any], apart: float | None
) -> Row:
    messages, sent, received = (sum(pair) for pair in zip(*case["counts"], strict=True))
    samples = case["ranks"] * case["batch"] / case["seconds"]
    return Row(
        what, kind, case["ranks"], case["batch"], case["seconds"], case["median"], apart,
        samples / (first["batch"] / first["seconds"]),
        messages, sent, received, case["layers"], case["others"],
    )  # fmt: skip


def apart(result: dict[str, Any], case: dict[str, Any]) -> float | None:
    """Seconds of a case's step without exchanges, if it was measured."""
    names = "network", "channels", "batch", "ranks"
    for other in result["cases"]:
        if other["mode"] == APART and all(other[name] == case[name] for name in names):
            seconds: float = other["seconds"]
            return seconds
    return None


def steps(result: dict[str, Any]) -> list[Measured]:
    """The steps of two ranks with all delays."""
    found = []
    for case in result["cases"]:
        alone = apart(result, case)
        if case["ranks"] == 2 and case["mode"] != APART and alone is not None:
            messages, _, received = (sum(pair) for pair in zip(*case["counts"], strict=True))
            found.append(
                Measured(title(case), case["seconds"], alone, messages, received, case["delay"])
            )
    return found


def model(result: dict[str, Any]) -> Model:
    """Fitted on all delays but the longest."""
    return cost_model.fit([step for step in steps(result) if step.delay < CHECKED])


def papers(result: dict[str, Any]) -> list[Paper]:
    """The network's step on each kind of connection."""
    training = [case for case in result["cases"] if case["network"]]
    alone = {case["mode"]: case["seconds"] for case in training if case["ranks"] == 1}
    two = next(c for c in training if c["ranks"] == 2 and c["mode"] == SYNCHRONIZED)
    kinds = [
        Exchanges(messages, sent, max(0.0, (alone[mode] - alone[APART]) / (copies - 1)))
        for (mode, copies), (messages, sent, _) in zip(
            ((MERGING, MERGED), (ADDING, ADDED)), two["counts"], strict=True
        )
    ]
    software = max(0.0, model(result).latency)
    return [Paper(alone[APART], software, *kinds, network) for network in cost_model.NETWORKS]
