"""Layer, RMS, group and instance normalization beside PyTorch, JAX and ONNX Runtime.

``python bench/family.py``: milliseconds of the forward and the backward pass, each library in a
process of its own, in turns, verified against float64 before.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import contest
import normalizers
import results
import samples
from contest import Calls
from report import geometric_mean
from tables import Cells, number

PASSES = ("forward", "backward")
CASES = {f"{kind} {' × '.join(map(str, shape))}": (kind, shape) for kind, shape in samples.CASES}


def calls(name: str, case: tuple[str, tuple[int, ...]], threads: int) -> Calls:
    """The calls of one library, whose results are right."""
    data = samples.make(*case)
    made: Calls = normalizers.load(name)(data, threads)
    for each, call in made.items():
        samples.check(data, each, call())
    return made


def rows(result: dict[str, Any]) -> Cells:
    """Milliseconds, forward / backward."""
    table = [["", *normalizers.CONTESTANTS]]
    for case in result["cases"]:
        cells = (
            " / ".join(number(contest.median(case, name, each)) for each in PASSES)
            for name in normalizers.CONTESTANTS
        )
        table.append([case["title"], *cells])
    return table


def means(result: dict[str, Any]) -> Cells:
    """Geometric means of the libraries' times over those of `bn`, and in how many it is behind."""
    table = [["peer / bn", *PASSES, "of so many passes the peer is faster by 5 %"]]
    for name in list(normalizers.CONTESTANTS)[1:]:
        ratios = {p: [contest.ratio(case, name, p) for case in result["cases"]] for p in PASSES}
        known = [r for each in ratios.values() for r in each if r is not None]
        behind = f"{sum(r < 0.95 for r in known)} of {len(known)}"
        table.append([name, *(number(geometric_mean(ratios[p]), 2) for p in PASSES), behind])
    return table


def main() -> None:
    """Run, print, and write the file."""
    parser = results.parser(__doc__, repeat=5)
    parser.add_argument("--shapes", default="", metavar="REGEX", help="cases whose name matches")
    options = parser.parse_args()
    cases = {title: case for title, case in CASES.items() if re.search(options.shapes, title)}
    everybody = {name: partial(calls, name) for name in normalizers.CONTESTANTS}
    result = contest.contest(everybody, cases, options)
    titled = {"ms, forward / backward": rows(result), "geometric means": means(result)}
    results.finish(result, titled, options.json)


if __name__ == "__main__":
    main()
