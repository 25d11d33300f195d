"""The picture of a benchmark: over memcpy above, peers over `bn` below, by tensor size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import report
from report import PLAIN_OPS, Row

COLOURS = {
    "NumPy": "#9e9e9e",
    "PyTorch": "#e4572e",
    "PyTorch cl": "#f2a65a",
    "oneDNN": "#2e86ab",
    "torch.compile": "#8b4513",
    "JAX": "#7b4bb7",
    "TensorFlow": "#d4a017",
    "ONNX Runtime": "#3a9d6e",
}
INK, OWN = "#222222", "#0b5d8f"
MARKS = {"first": ("o", "channels-first, (N, C)"), "last": ("s", "channels-last")}


def draw(result: dict[str, Any], path: Path) -> None:
    """Write the picture; without matplotlib, say so."""
    try:
        import matplotlib
    except ImportError:
        print("no picture: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, NullFormatter

    rows = [row for row in report.rows(result) if "plain" in row.ours]
    style = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 10}
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(
            2, 3, figsize=(14, 8.4), sharex=True, sharey="row", layout="constrained"
        )
        for column, op in enumerate(PLAIN_OPS):
            of_op = [row for row in rows if row.op == op]
            _over_memcpy(axes[0, column], of_op)
            _over_ours(axes[1, column], of_op)
            axes[0, column].set_title("training forward" if op == "forward" else op, weight="bold")
            axes[1, column].set_xlabel("size of the tensor, MB")
        for axis in axes.flat:
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.xaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.grid(axis="y", color="#e6e6e6", linewidth=0.8)
            axis.set_axisbelow(True)
        axes[0, 0].set_ylabel("time / time of copying the tensor")
        axes[1, 0].set_ylabel("peer's time / time of bn")
        axes[0, 0].legend(loc="upper right", frameon=False, fontsize=9)
        handles = {}
        for axis in axes[1]:
            handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        figure.legend(
            handles.values(), handles, loc="outside lower center", ncols=9, frameon=False,
            markerscale=1.6,
        )  # fmt: skip
        figure.suptitle(_title(result["machine"]), x=0.01, ha="left", fontsize=10, color="#555555")
        figure.savefig(path, dpi=130)
        pyplot.close(figure)


def _over_memcpy(axis: Any, rows: list[Row]) -> None:
    """bn, filled; the fastest peer of each row beside it, pale."""
    axis.axhline(1, color=INK, linewidth=1)
    best = [(r.nbytes / report.MB, f[1] * r.to_memcpy()) for r in rows if (f := r.fastest())]
    if best:
        axis.scatter(*zip(*best, strict=True), s=26, marker="x", color="#bbbbbb",
                     label="fastest peer of the row")  # fmt: skip
    for layout, (mark, label) in MARKS.items():
        points = [(r.nbytes / report.MB, r.to_memcpy()) for r in rows if r.layout == layout]
        if points:
            axis.scatter(*zip(*points, strict=True), s=30, marker=mark, color=OWN,
                         facecolors=OWN if layout == "first" else "white",
                         label=f"bn, {label}")  # fmt: skip


def _over_ours(axis: Any, rows: list[Row]) -> None:
    """Every peer over bn: below the line it would be ahead."""
    axis.axhline(1, color=INK, linewidth=1)
    axis.axhspan(1e-3, 1, color="#f7e3e0", zorder=0)
    axis.annotate("peer ahead", (0.01, 0.02), xycoords="axes fraction", color="#b0655a", fontsize=9)
    highest = 2.0
    for name, colour in COLOURS.items():
        points = [(r.nbytes / report.MB, v) for r in rows if (v := r.lead(name)) is not None]
        if points:
            axis.scatter(*zip(*points, strict=True), s=14, alpha=0.75, color=colour,
                         linewidths=0, label=name)  # fmt: skip
            highest = max(highest, *(v for _, v in points))
    low = min([1.0, *(v for r in rows if (f := r.fastest()) for v in [f[1]])])
    bottom, top = axis.get_ylim() if axis.get_ylim()[0] > 0.05 else (0.7, 2.0)
    axis.set_ylim(min(bottom, 0.7 * low), max(top, 1.3 * highest))


def _title(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    return (
        f"bn {machine['bn']['version']} on {machine['cpu']}, {machine['threads']} threads, "
        f"{machine['bn']['isa']}, {machine['date'][:10]}\n{versions}"
    )
