"""Figures of matplotlib that are made without pyplot, whose state stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bn import _check

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE = "#0b6e99", "#d9730d"


def panels(
    caller: str, title: str, rows: int, columns: int, size: tuple[float, float], **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with so many pairs of axes.

    Parameters
    ----------
    caller : str
        Whom the message is about, where matplotlib is not installed.
    title : str
    rows, columns : int
    size : (float, float)
        In inches.
    **options
        Of matplotlib's ``Figure.subplots``.

    Examples
    --------
    >>> figure, axes = panels("plot", "one beside another", 1, 2, (6, 3))
    >>> [len(row) for row in axes]
    [2]
    """
    _check.optional_package(caller, "matplotlib")
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.style.context("default"):
        figure = Figure(figsize=size, dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False, **options)
        figure.suptitle(title)
        for one in axes.flat:
            one.spines[["top", "right"]].set_visible(False)
            one.set_axisbelow(True)
        return figure, axes.tolist()
