"""Draws the result of `scaling.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import scaling_report
from scaling_report import STRONG, WEAK

COLOURS = ("#0b5d8f", "#e4572e")
RANKS = tuple(2**n for n in range(1, 14))


def draw(result: dict[str, Any], path: Path) -> None:
    """The samples of a second here, and the parts of a step on paper."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (here, paper) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    _here(here, scaling_report.rows(result), result["machine"]["cores"])
    _on_paper(paper, scaling_report.papers(result)[0])
    for axes in (here, paper):
        axes.grid(color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _here(axes: Any, rows: list[scaling_report.Row], cores: int) -> None:
    for what, colour in zip(dict.fromkeys(row.what for row in rows), COLOURS, strict=True):
        for kind, style in ((WEAK, "-o"), (STRONG, "--s")):
            own = [row for row in rows if (row.what, row.kind) == (what, kind)]
            ranks, speeds = [row.ranks for row in own], [row.speed for row in own]
            axes.plot(ranks, speeds, style, color=colour, label=f"{what}, {kind}")
    ranks = sorted({row.ranks for row in rows})
    ideal = [min(number, cores) for number in ranks]
    axes.plot(ranks, ideal, ":", color="black", label=f"all that {cores} cores can give")
    axes.set_xticks(ranks)
    axes.set_ylim(0)
    axes.set_xlabel("ranks")
    axes.set_ylabel("samples per second over those of one rank")
    axes.set_title("measured", fontsize=10)


def _on_paper(axes: Any, paper: Any) -> None:
    parts = {
        "computation": [paper.compute for _ in RANKS],
        "statistics of all ranks": [paper.exchanged(paper.statistics, n) for n in RANKS],
        "gradients, as they are sent": [paper.exchanged(paper.gradients, n) for n in RANKS],
        "gradients, if a ring added them": [paper.ring(n) for n in RANKS],
    }
    for (name, values), colour in zip(parts.items(), ("black", *COLOURS, "#f2a65a"), strict=True):
        axes.plot(RANKS, [1e3 * value for value in values], color=colour, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("ranks")
    axes.set_ylabel("ms of a step")
    axes.set_title(f"on paper, {paper.network.name}", fontsize=10)
