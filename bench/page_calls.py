"""The tables of small calls for the documentation."""

from __future__ import annotations

from collections.abc import Callable

from measurements import read
from tables import Cells, aimed, ratio

AIMS = {
    "function, eval": 2.5,
    "function, training": 3.5,
    "layer, eval": 4,
    "layer, training": 8,
}  # µs


def times() -> Cells:
    """Microseconds of a call on a tiny tensor."""
    found = {(row["who"], row["what"]): row["median"] for row in read("calls")["calls, µs"]}
    table = [["", "bn", "aim", "PyTorch"]]
    for what, aim in AIMS.items():
        ours, theirs = found["bn", what], found["PyTorch", what]
        table.append([what, f"{ours:.1f}", aimed(aim, ours, most=True), f"{theirs:.1f}"])
    return table


def beside_numpy() -> Cells:
    """A product of NumPy and a call of bn in turn, over the two apart."""
    cliffs = read("calls")["cliffs, ms"]
    patterns = list(cliffs[0]["together"])
    return [
        ["", *patterns],
        *[
            [c["what"], *(ratio(c["together"][p] / c["apart"][p]) for p in patterns)]
            for c in cliffs
        ],
    ]


TABLES: dict[str, Callable[[], Cells]] = {
    "calls.times": times,
    "calls.beside NumPy": beside_numpy,
}
