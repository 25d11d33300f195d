"""Prints the result of `scaling.py`."""

from __future__ import annotations

from typing import Any

import scaling_report
import tables
from cost_model import PAPER, WORTH, Paper

Cells = list[list[str]]


def show(result: dict[str, Any]) -> None:
    """Scaling, the fitted model beside what was measured, and steps on paper."""
    print(tables.header(result["machine"]))
    print("\n" + tables.plain("weak and strong scaling, one thread for each rank", scaling(result)))
    fitted = scaling_report.model(result)
    print("\n" + tables.plain("two ranks whose exchanges are late: ms", predictions(result)))
    print(
        f"fitted: {fitted.compute:.2f} of the time apart, {1e6 * fitted.latency:.0f} µs for each "
        f"exchange, {1e9 * fitted.per_byte:.2f} ns for each byte that is received"
    )
    asked = ", ".join(f"{1e3 * took:.2f} for {1e3 * delay:g}" for delay, took in result["waits"])
    print(f"a delay takes, in ms: {asked}")
    for paper in scaling_report.papers(result):
        print("\n" + tables.plain(f"on paper, {paper.network.name}: ms of a step", on_paper(paper)))
        print(
            f"statistics take at most {WORTH:.0%} of the computation in groups of "
            f"{paper.largest_group()} ranks"
        )


def scaling(result: dict[str, Any]) -> Cells:
    """One line for each number of ranks; speeds are over those of one rank."""
    table = [
        ["", "scaling", "ranks", "batch of each", "ms", "median", "apart", "samples/s", "messages",
         "kB sent", "kB received", "statistics", "gradients, losses"]
    ]  # fmt: skip
    for row in scaling_report.rows(result):
        table.append(
            [row.what, row.kind, str(row.ranks), str(row.batch), ms(row.seconds), ms(row.median),
             "" if row.apart is None else ms(row.apart), f"{row.speed:.2f}", str(row.messages),
             kb(row.sent), kb(row.received), f"{row.layers:.0%}", f"{row.others:.0%}"]
        )  # fmt: skip
    return table


def predictions(result: dict[str, Any]) -> Cells:
    """What the model says of each step that was timed."""
    fitted = scaling_report.model(result)
    table = [["", "delay", "measured", "model", "error", ""]]
    for step in scaling_report.steps(result):
        use = "fitted" if step.delay < scaling_report.CHECKED else "predicted"
        table.append(
            [step.name, f"{1e3 * step.delay:g}", ms(step.seconds), ms(fitted.seconds(step)),
             f"{fitted.error(step):+.0%}", use]
        )  # fmt: skip
    return table


def on_paper(paper: Paper) -> Cells:
    """One line for each number of ranks."""
    table = [
        ["ranks", "computation", "statistics of all", "gradients", "the same by a ring", "step"]
    ]
    for ranks in PAPER:
        parts = [
            paper.compute,
            paper.exchanged(paper.statistics, ranks),
            paper.exchanged(paper.gradients, ranks),
        ]
        table.append([str(ranks), *map(ms, parts), ms(paper.ring(ranks)), ms(sum(parts))])
    return table


def ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}" if seconds < 1 else f"{1e3 * seconds:.0f}"


def kb(nbytes: float) -> str:
    return f"{nbytes / 1e3:.0f}"
