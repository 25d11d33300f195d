"""What follows from a study: a verdict, a sentence, tables and charts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bn.study.results import Results
from bn.study.statistics import Estimate, times

Verdict = Literal["holds", "does not hold", "depends", "within noise"]
Cell = str | Estimate


@dataclass(frozen=True)
class Table:
    """Rows of text and estimates below a head."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Line:
    """Estimates over x, which are numbers, or words for categories."""

    name: str
    x: Sequence[float | str]
    y: Sequence[Estimate]


def by_epoch(results: Results, name: str) -> Line:
    """The mean over the seeds of what was measured as "curve", in %, epoch by epoch."""
    y = results.curve("curve", 100)
    return Line(name, [*range(1, len(y) + 1)], y)


@dataclass(frozen=True)
class Chart:
    """Lines with their intervals; `level` is a y that decides, which is drawn as a line."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    log_x: bool = False
    log_y: bool = False
    level: float | None = None


@dataclass(frozen=True)
class Conclusion:
    """What a study found.

    Attributes
    ----------
    verdict : {"holds", "does not hold", "depends", "within noise"}
    sentence : str
        The numbers behind the verdict, in sentences.
    charts, tables : list
    notes : list of str
        What a reader should know of the numbers, each a sentence.
    cases : dict of Estimate
        What the verdict was judged by: by case, what must be above 0 for the claim to hold there.
    measure : str
        What these numbers are, in a few words.
    logarithms : bool
        Whether they are logarithms to base 10, which a reader is told as factors.
    """

    verdict: Verdict
    sentence: str
    charts: Sequence[Chart] = field(default_factory=list)
    tables: Sequence[Table] = field(default_factory=list)
    notes: Sequence[str] = field(default_factory=list)
    cases: Mapping[str, Estimate] = field(default_factory=dict)
    measure: str = ""
    logarithms: bool = False

    @property
    def figure(self) -> str:
        """What the verdict was judged by, in the cases where it is least and largest."""
        known = {case: gain for case, gain in self.cases.items() if not math.isnan(gain.mean)}
        ends = sorted(known, key=lambda case: known[case].mean)
        write = times if self.logarithms else str
        told = [f"{write(known[case])} for {case}" for case in dict.fromkeys(ends[:1] + ends[-1:])]
        return f"{self.measure}: {'; '.join(told)}" if told else "–"


def judged(gains: Iterable[Estimate]) -> Verdict:
    """The verdict of a claim by what it says to be above 0, in each of several cases.

    It holds if all intervals are above 0, and does not if none is, but one is below. It depends on
    the case if some are above. If all intervals contain 0, or there is no case, the result is
    within noise.

    Examples
    --------
    >>> judged([Estimate(2.0, 0.5, 5), Estimate(0.1, 0.3, 5)])
    'depends'
    >>> judged([Estimate(-2.0, 0.5, 5), Estimate(0.1, 0.3, 5)])
    'does not hold'
    """
    found = list(gains)
    if found and all(gain.above_zero for gain in found):
        return "holds"
    if any(gain.above_zero for gain in found):
        return "depends"
    return "does not hold" if any(gain.below_zero for gain in found) else "within noise"


def by_verdict(cases: Mapping[str, Estimate]) -> str:
    """Sentences of where a claim holds and where it does not, or nothing if all cases are alike.

    Examples
    --------
    >>> by_verdict({"CNN": Estimate(2.0, 0.5, 5), "MLP": Estimate(0.1, 0.3, 5)})
    'Holds: CNN. Within noise: MLP.'
    """
    found: dict[Verdict, list[str]] = {}
    for case, gain in cases.items():
        found.setdefault(judged([gain]), []).append(case)
    if len(found) < 2:
        return ""
    return " ".join(f"{v.capitalize()}: {_listed(names)}." for v, names in found.items())


def _listed(names: Sequence[str], most: int = 8) -> str:
    return "; ".join(names) if len(names) <= most else f"{len(names)} cases"
