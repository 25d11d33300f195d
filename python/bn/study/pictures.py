"""Charts as SVG, the same bytes each time."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bn.study.conclusion import Chart, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which people who see few colours can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = "osD^vPX"
STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "svg.fonttype": "none",  # texts stay texts
}


def svg(chart: Chart) -> str:
    """The picture of a chart, as an element ``<svg>``."""
    import matplotlib.style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Names of parts come from the salt, so that those of two pictures on one page differ.
    style: Any = dict(STYLE) | {"svg.hashsalt": f"{chart.title} {chart.x_label}"}
    with matplotlib.style.context(["default", style]):
        named = len(chart.lines) > 1
        below = 0.2 * math.ceil(len(chart.lines) / 2) if named else 0.0
        figure = Figure(figsize=(6.4, 3.7 + below), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        _draw(axes, chart)
        if named:  # outside, where it hides nothing
            figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def _draw(axes: Axes, chart: Chart) -> None:
    from matplotlib.ticker import LogLocator

    places = _places(chart.lines)
    count = len(chart.lines)
    for i, line in enumerate(chart.lines):
        # Beside each other where the lines would hide their intervals.
        beside = 0.5 * (i - (count - 1) / 2) / count
        x = [places[w] + beside if isinstance(w, str) else w for w in line.x]
        _line(axes, line, x, i, connected=not places)
    if chart.level is not None:
        axes.axhline(chart.level, color="#555555", linewidth=1, linestyle="--")
    if places:
        axes.set_xticks([*places.values()], [*places])
    if chart.log_x:
        axes.set_xscale("log")
        measured = sorted({x for line in chart.lines for x in line.x if not isinstance(x, str)})
        if len(measured) <= 12:
            axes.set_xticks(measured, [f"{x:g}" for x in measured])
            axes.set_xticks([], minor=True)
        else:
            axes.xaxis.set_major_formatter("{x:g}")
    if chart.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 3, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_yticks([], minor=True)
    elif chart.y_label.endswith(", %"):  # shares, which their intervals may go beyond
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -2), min(high, 102))
    axes.set(xlabel=chart.x_label, ylabel=chart.y_label)
    axes.set_title(chart.title, loc="left", fontsize=11)
    axes.grid(axis="y", color="#e3e3e3", linewidth=0.8)
    axes.set_axisbelow(True)


def _places(lines: Iterable[Line]) -> dict[str, int]:
    """Where on the axis each word stands, if x are words."""
    words = [x for line in lines for x in line.x if isinstance(x, str)]
    return {word: i for i, word in enumerate(dict.fromkeys(words))}


def _line(axes: Axes, line: Line, x: list[float], number: int, *, connected: bool) -> None:
    colour = COLOURS[number % len(COLOURS)]
    means = [estimate.mean for estimate in line.y]
    halves = [0.0 if math.isinf(e.half) else e.half for e in line.y]
    if connected and len(x) > 12:  # a band, because so many bars hide the line
        low = [m - h for m, h in zip(means, halves, strict=True)]
        high = [m + h for m, h in zip(means, halves, strict=True)]
        axes.plot(x, means, color=colour, label=line.name)
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        return
    axes.errorbar(
        x, means, yerr=halves, color=colour, label=line.name, capsize=3, markersize=5,
        marker=MARKS[number % len(MARKS)], linestyle="-" if connected else "none",
    )  # fmt: skip
