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
    print("\n" + tables.plain("what a rank sends, and the time it takes", sent(result)))
    fitted = scaling_report.model(result)
    print("\n" + tables.plain("two ranks whose exchanges are late", predictions(result)))
    print(
        f"fitted: {fitted.compute:.2f} of the time apart, {1e6 * fitted.latency:.0f} µs for each "
        f"exchange, {1e9 * fitted.per_byte:.2f} ns for each byte that is received"
    )
    print("\n" + tables.plain("an exchange between two ranks", exchanges(result)))
    print("\n" + tables.plain("forward of (32, C): ms", small_calls(result)))
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
    table = [["", "scaling", "ranks", "batch of each", "ms", "median", "apart", "speed"]]
    for row in scaling_report.rows(result):
        table.append(
            [row.what, row.kind, str(row.ranks), str(row.batch), ms(row.seconds), ms(row.median),
             "–" if row.apart is None else ms(row.apart), f"{row.speed:.2f}"]
        )  # fmt: skip
    return table


def sent(result: dict[str, Any]) -> Cells:
    """What a rank sends in a step, and the parts of its time that exchanges take."""
    table = [
        ["", "scaling", "ranks", "messages", "kB sent", "kB received", "statistics",
         "gradients, losses"]
    ]  # fmt: skip
    for row in scaling_report.rows(result):
        table.append(
            [row.what, row.kind, str(row.ranks), str(row.messages), kb(row.sent), kb(row.received),
             tables.percent(row.layers), tables.percent(row.others)]
        )  # fmt: skip
    return table


def predictions(result: dict[str, Any]) -> Cells:
    """What the model says of each step that was timed."""
    fitted = scaling_report.model(result)
    table = [["", "delay, ms", "measured, ms", "model, ms", "error", ""]]
    for step in scaling_report.steps(result):
        use = "fitted" if step.delay < scaling_report.CHECKED else "predicted"
        table.append(
            [step.name, f"{1e3 * step.delay:g}", ms(step.seconds), ms(fitted.seconds(step)),
             signed(fitted.error(step)), use]
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


def papers(result: dict[str, Any]) -> Cells:
    """The steps on paper of all networks in one table."""
    table: Cells = []
    for paper in scaling_report.papers(result):
        head, *lines = on_paper(paper)
        table += [] if table else [["network", *head]]
        table += [[paper.network.name if i == 0 else "", *line] for i, line in enumerate(lines)]
    return table


def fitted(result: dict[str, Any]) -> str:
    """The numbers of the model."""
    found = scaling_report.model(result)
    return (
        f"a = {found.compute:.2f}, a latency of {1e6 * found.latency:.0f} µs, and "
        f"{1e9 * found.per_byte:.2f} ns for each byte"
    )


def groups(result: dict[str, Any]) -> str:
    """The largest groups whose statistics are worth their time."""
    return " and ".join(
        f"{paper.largest_group()} ranks on {paper.network.name.split(',')[0]}"
        for paper in scaling_report.papers(result)
    )


def exchanges(result: dict[str, Any]) -> Cells:
    """Microseconds by the bytes of a rank."""
    pairs = result["exchanges"]
    return [
        ["bytes", *(f"{size:,}" for size, _ in pairs)],
        ["µs", *(tables.number(1e6 * seconds, 2) for _, seconds in pairs)],
    ]


def small_calls(result: dict[str, Any]) -> Cells:
    """One line for each number of channels."""
    table = [["channels", "alone", "synchronized"]]
    return table + [[f"{c:,}", ms(alone), ms(both)] for c, alone, both in result["calls"]]


def signed(part: float) -> str:
    """A difference in percent."""
    percent = round(100 * part)
    return f"{percent:+d} %".replace("-", "−") if percent else "0 %"


def ms(seconds: float) -> str:
    return tables.number(1e3 * seconds)


def kb(nbytes: float) -> str:
    return f"{nbytes / 1e3:.0f}"
