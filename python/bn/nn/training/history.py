"""`History`: what a training measured, epoch by epoch."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from bn import _check
from bn.nn.replacing import replacing
from bn.table import aligned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Epoch = dict[str, Any]


class History:
    """What a training measured in each epoch.

    Parameters
    ----------
    epochs : iterable of dict
        One for each epoch: ``"epoch"`` (from 1), ``"lr"``, ``"loss"`` and the metrics, the same of
        the validation data with ``"val_"`` before their names, and ``"seconds"``.

    Attributes
    ----------
    epochs : list of dict

    Examples
    --------
    >>> history = History([{"epoch": 1, "loss": 0.75}, {"epoch": 2, "loss": 0.5}])
    >>> history["loss"]
    [0.75, 0.5]
    >>> print(history)
    epoch    loss
        1  0.7500
        2  0.5000
    """

    def __init__(self, epochs: Iterable[Mapping[str, Any]] = ()) -> None:
        self.epochs: list[Epoch] = [dict(epoch) for epoch in epochs]

    def __len__(self) -> int:
        return len(self.epochs)

    def __getitem__(self, name: str) -> list[Any]:
        """The values of all epochs under one name."""
        return [epoch[name] for epoch in self.epochs]

    @property
    def names(self) -> list[str]:
        """The names of all values, in their order."""
        return list(dict.fromkeys(name for epoch in self.epochs for name in epoch))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the history to a .json or a .csv file, which it replaces as a whole.

        Parameters
        ----------
        path : path-like
            Its ending decides the format.

        Raises
        ------
        ValueError
            The path has another ending.
        OSError
            The file cannot be written; what was there before stays.
        """
        ending = _check.history_file(os.fspath(path))
        text = json.dumps(self.epochs, indent=1) if ending == ".json" else self._csv()
        with replacing(path) as file:
            file.write(text.encode())

    def _csv(self) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.epochs)
        return text.getvalue()

    def plot(self) -> Figure:
        """Draw the losses and the metrics over the epochs; needs matplotlib (the extra `demo`).

        Returns
        -------
        matplotlib.figure.Figure
        """
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        shown = [name for name in self.names if name not in ("epoch", "lr", "seconds")]
        kinds = list(dict.fromkeys(name.removeprefix("val_") for name in shown))
        figure = Figure(figsize=(5 * max(len(kinds), 1), 4), layout="constrained")
        for i, kind in enumerate(kinds):
            axes = figure.add_subplot(1, len(kinds), i + 1)
            for name, label in ((kind, "training"), (f"val_{kind}", "validation")):
                rows = [epoch for epoch in self.epochs if name in epoch]
                if rows:
                    places, values = [row["epoch"] for row in rows], [row[name] for row in rows]
                    axes.plot(places, values, marker="o" if len(rows) < 20 else "", label=label)
            axes.set(xlabel="epoch", ylabel=kind)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend()
        return figure

    def _repr_html_(self) -> str:
        """A table, for notebooks."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.names)
        rows = (
            "".join(f"<td>{escape(_shown(epoch.get(name, '')))}</td>" for name in self.names)
            for epoch in self.epochs
        )
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><tr>{head}</tr>{body}</table>"

    def __str__(self) -> str:
        if not self.epochs:
            return "no epoch"
        rows = [[_shown(epoch.get(name, "")) for name in self.names] for epoch in self.epochs]
        return aligned([self.names, *rows], left=0)

    def __repr__(self) -> str:
        last = self.epochs[-1] if self.epochs else {}
        words = [f"{len(self)} epochs", *(f"{name}={_shown(v)}" for name, v in last.items())]
        return f"History({', '.join(words)})"


def _shown(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.4g}"
