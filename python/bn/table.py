"""Tables in plain text: `aligned` columns, and `boxed` ones with lines around them."""

from __future__ import annotations

from collections.abc import Sequence

Cells = Sequence[Sequence[str]]


def aligned(rows: Cells, left: int = 1) -> str:
    """Rows of text with two spaces between their columns, and none at the end of a line.

    Parameters
    ----------
    rows : sequence of sequences of str
        At least one row; all of the same length.
    left : int
        The first `left` columns are aligned on the left, the others on the right.

    Returns
    -------
    str
        One line for each row.

    Raises
    ------
    ValueError
        The rows differ in length.

    Examples
    --------
    >>> print(aligned([("network", "loss"), ("deep", "0.1"), ("shallow", "12.25")]))
    network   loss
    deep       0.1
    shallow  12.25
    """
    return "\n".join("  ".join(cells).rstrip() for cells in _padded(rows, left))


def boxed(titles: Sequence[str], rows: Cells, left: int = 1) -> str:
    """A table with titles and with lines around its columns.

    Parameters
    ----------
    titles : sequence of str
        One for each column.
    rows : sequence of sequences of str
        May be empty.
    left : int
        The first `left` columns are aligned on the left, the others on the right.

    Returns
    -------
    str
        Several lines of equal length.

    Raises
    ------
    ValueError
        The titles and the rows differ in length.

    Examples
    --------
    >>> print(boxed(("network", "loss"), [("deep", "0.1"), ("shallow", "12.25")]))
    ┌─────────┬───────┐
    │ network │  loss │
    ├─────────┼───────┤
    │ deep    │   0.1 │
    │ shallow │ 12.25 │
    └─────────┴───────┘
    """
    head, *body = _padded([titles, *rows], left)
    dashes = ["─" * (len(cell) + 2) for cell in head]
    lines = ["│ " + " │ ".join(cells) + " │" for cells in (head, *body)]
    top, middle, bottom = (
        start + between.join(dashes) + end for start, between, end in ("┌┬┐", "├┼┤", "└┴┘")
    )
    return "\n".join([top, lines[0], middle, *lines[1:], bottom])


def _padded(rows: Cells, left: int) -> list[list[str]]:
    """The cells with spaces, so that all cells of a column have the same width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        [
            cell.ljust(n) if i < left else cell.rjust(n)
            for i, (cell, n) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
