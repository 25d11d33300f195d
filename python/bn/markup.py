"""HTML for notebooks: tables of layers and numbers, in which all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from bn.parameter import Parameter

if TYPE_CHECKING:
    from bn.module import Module
    from bn.statistics import Stats

MOST_CHANNELS = 20  # of which a table has rows; a notebook is read on one screen
LAYER_TITLES = ("Layer", "Type", "Arguments", "Param #")


def html_table(titles: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table.

    Parameters
    ----------
    titles : sequence of str
        One for each column.
    rows : iterable of sequences of str
    left : int
        The first `left` columns are aligned on the left, the others on the right.

    Returns
    -------
    str

    Examples
    --------
    >>> print(html_table(["layer"], [["a<b"]]))
    <table>
    <tr><th style="text-align: left">layer</th></tr>
    <tr><td style="text-align: left; white-space: pre">a&lt;b</td></tr>
    </table>
    """
    lines = [_row("th", titles, left, "")]
    lines += [_row("td", row, left, "; white-space: pre") for row in rows]
    return "\n".join(["<table>", *lines, "</table>"])


def _row(tag: str, cells: Sequence[str], left: int, style: str) -> str:
    sides = ("left" if i < left else "right" for i in range(len(cells)))
    parts = (
        f'<{tag} style="text-align: {side}{style}">{escape(cell)}</{tag}>'
        for side, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(parts)}</tr>"


def module_html(model: Module) -> str:
    """A table with a row for each layer of a model, indented by what it is inside of.

    Parameters
    ----------
    model : Module

    Returns
    -------
    str

    Examples
    --------
    >>> from bn import nn
    >>> module_html(nn.Sequential(nn.Linear(4, 3), nn.ReLU())).count("<tr>")
    4
    """
    rows = []
    for path, layer in model.named_modules(remove_duplicate=False):
        depth = path.count(".") + 1 if path else 0
        kind, size = type(layer).__name__, _parameters(layer)
        name = "    " * (depth - 1) + path.rpartition(".")[2]
        rows.append((name, kind, layer.extra_repr(), size))
    return html_table(LAYER_TITLES, rows, left=3)


def _parameters(layer: Module) -> str:
    """The number of a layer's own parameters; a question mark before it knows its input's size."""
    if not layer.built:
        return "?"
    own = [value for _, value in layer._attributes() if isinstance(value, Parameter)]
    return f"{sum(parameter.size for parameter in own):,}" if own else ""


def stats_html(stats: Stats) -> str:
    """A table with a row for each channel, of the first 20 channels.

    Parameters
    ----------
    stats : Stats

    Returns
    -------
    str

    Examples
    --------
    >>> import bn, numpy as np
    >>> print(stats_html(bn.stats(np.ones((5, 2)))).count("<tr>"))
    3
    """
    return html_table(("channel", "count", "mean", "var"), _channels(stats))


def _channels(stats: Stats) -> Iterator[tuple[str, ...]]:
    columns = stats.count, stats.mean, stats.var
    for i, values in enumerate(zip(*columns, strict=True)):
        if i == MOST_CHANNELS:
            yield f"… {stats.mean.size - i} more", "", "", ""
            return
        yield f"{i}", *(f"{value:.6g}" for value in values)
