"""The results of `bn train`: the table it prints, curves.png and metrics.json."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

import numpy as np

import bn
from bn.cli.data import Dataset
from bn.cli.display import live, percent, room
from bn.cli.training import Run
from bn.table import aligned

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADER = (
    ("", ""),
    ("test accuracy", "eval mode"),
    ("test accuracy", "batch stats"),
    ("training", "loss"),
    ("training", "time"),
)
# Of the networks in their order; by default the first is the one with batch normalization.
COLORS = ("#0b6e99", "#d9730d", "#4f8a10", "#8e44ad", "#c0392b", "#7f8c8d", "#b7950b", "#1a5276")


def table_rows(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """One row of text for each network, with the columns of `HEADER`."""
    rows: list[tuple[str, ...]] = []
    for run in runs:
        name = run.network if run.status == "complete" else f"{run.network} ({run.status})"
        loss = f"{run.train_loss:.4f}" if run.seconds > 0 else "-"
        accuracies = percent(run.test_accuracy_eval), percent(run.test_accuracy_batch)
        rows.append((name, *accuracies, loss, f"{run.seconds:.1f} s"))
    return rows


def block(row: Sequence[str]) -> str:
    """A row of the table as lines of its own, for a terminal that is narrower than the table.

    Examples
    --------
    >>> print(block(["with batch norm", "98.9 %", "98.7 %", "0.0012", "0.6 s"]))
    with batch norm
      test accuracy, eval mode    98.9 %
      test accuracy, batch stats  98.7 %
      training loss               0.0012
      training time               0.6 s
    """
    titles = (f"{a} {b}" if a == "training" else f"{a}, {b}" for a, b in HEADER[1:])
    lines = aligned(list(zip(titles, row[1:], strict=True)), left=2)
    return row[0] + "\n" + indent(lines, "  ")


def print_table(runs: Sequence[Run]) -> None:
    """Print the table of the networks, with rich if the terminal can show it."""
    rows = table_rows(runs)
    text, columns = aligned([*zip(*HEADER, strict=True), *rows]), room()
    spare = len(HEADER) if live() else 0  # for which rich has spaces
    if columns is not None and max(map(len, text.splitlines())) + spare > columns:
        print("\n" + "\n".join(block(row) for row in rows) + "\n")
        return
    if not live():
        print("\n" + text + "\n")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for i, lines in enumerate(HEADER):
        table.add_column("\n".join(lines), justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def write_metrics(path: Path, options: dict[str, Any], data: Dataset, runs: Sequence[Run]) -> None:
    """Write options, versions, the numbers of each epoch and the final ones as JSON."""
    metrics = {
        "options": options,
        "versions": {
            "bn": bn.show_config()["version"],
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "data": {
            "name": data.name,
            "image_shape": list(data.shape),
            "classes": list(data.classes),
            "training_images": len(data.y_train),
            "test_images": len(data.y_test),
        },
        "networks": [asdict(run) for run in runs],
    }
    text = json.dumps(finite(metrics), indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def finite(value: Any) -> Any:
    """Copy nested dicts and lists with None in place of NaN and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def draw_curves(path: Path, title: str, runs: Sequence[Run]) -> None:
    """Draw the loss and the accuracy of all networks over the epochs, as a PNG.

    The figure is created without pyplot, whose backend, figures and settings belong to the caller.
    """
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.style.context("default"):
        figure = Figure(figsize=(10, 4.2), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        loss, accuracy = figure.subplots(1, 2)
        for run, color in zip(runs, cycle(COLORS)):
            draw_run(loss, accuracy, run, color)
        loss.set(title="loss", yscale="log")
        accuracy.set(title="accuracy on the test images, eval mode", ylabel="%")
        accuracy.set_ylim(top=100.5)
        if max(len(run.epochs) for run in runs) == 1:
            accuracy.set_ylim(bottom=0)
        for axes in (loss, accuracy):
            axes.set_xlabel("epoch")
            left, right = axes.get_xlim()
            axes.set_xlim(min(left, 0.5), max(right, 1.5))  # one epoch has no width of its own
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            axes.grid(color="#e5e5e5")
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
            if len(runs) <= 2:
                axes.legend(frameon=False)
        if len(runs) > 2:  # their names would cover the curves
            loss.set_title("loss (training: lines, test: dotted)")
            handles, labels = accuracy.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        figure.suptitle(title)
        figure.savefig(path, format="png")


def draw_run(loss: Axes, accuracy: Axes, run: Run, color: str) -> None:
    name = run.network
    x = [epoch.epoch for epoch in run.epochs]
    lines = (
        (loss, [e.train_loss for e in run.epochs], "-", f"training, {name}"),
        (loss, [e.test_loss for e in run.epochs], ":", f"test, {name}"),
        (accuracy, [100 * e.test_accuracy for e in run.epochs], "-", name),
    )
    for axes, y, style, label in lines:
        marker = "o" if style == "-" else "s"  # which is all there is of a single epoch
        axes.plot(x, y, style, color=color, marker=marker, markersize=3.5, label=label)
