"""Time `bn` beside memcpy, NumPy and every peer that is installed: ``python bench/kernels.py``.

Every result is verified against float64 first. Then all contestants take turns in each repeat.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import machine
import numpy as np
import peers
import picture
import results
import tables
from cases import Case, chosen, read
from kernel_work import Work
from worker import Contestant

COPIES = 8  # tensors of a case's size that a contestant holds, about
QUICK = 47  # s after which --quick begins nothing new
PATIENCE, FEWEST = 60, 5  # s for one case, but at least so many turns


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few shapes, within a minute")
    parser.add_argument("--peers", help=f"some of: {','.join(peers.PEERS)} (bn, memcpy always run)")
    parser.add_argument("--compile", action="store_true", help="torch.compile as well (slow)")
    parser.add_argument("--shapes", default="", metavar="REGEX", help="cases whose name matches")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="for everybody")
    parser.add_argument("--repeat", type=int, help="turns of each contestant (15; quick: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to a file")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw them (matplotlib)")
    options = parser.parse_args(argv)
    options.repeat = options.repeat or (3 if options.quick else 15)
    usual = [name for name in peers.PEERS if name != "compile"]
    names = options.peers.split(",") if options.peers else usual
    unknown = [name for name in names if name not in peers.PEERS]
    if unknown:
        parser.error(f"--peers must be some of {', '.join(peers.PEERS)}, got {', '.join(unknown)}")
    wanted = {"bn", "memcpy", *names} | ({"compile"} if options.compile else set())
    options.peers = [name for name in peers.PEERS if name in wanted]
    options.cases = chosen(read(), options.shapes, options.quick)
    if not options.cases:
        parser.error(f"--shapes must match a name in bench/shapes.csv, got {options.shapes!r}")
    return options


def start(names: list[str], threads: int) -> list[Contestant]:
    """Everybody, each in its own process; who is not installed is still in the list."""
    everybody = []
    for key in names:
        peer = peers.load(key)
        for column in peer.columns:
            tuned = column == "tuned"
            extra = peer.tuned_env if tuned else {}
            make = partial(Work, key, tuned, threads)
            everybody.append(Contestant(peer.name, column, make, threads, extra))
    for contestant in everybody:
        contestant.receive()
    return everybody


def run_case(
    case: Case, contestants: list[Contestant], repeat: int, end: float
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Measure one case (no new turn after `end`): its records, and what was not right."""
    off, problems = {}, {}
    for contestant in contestants:
        contestant.send("setup", case)
    for contestant in contestants:
        who = (contestant.name, contestant.column)
        good, bad = contestant.receive() or ({}, {})
        off |= {(*who, *slot): value for slot, value in good.items()}
        problems |= {", ".join((*who, *slot)): text for slot, text in bad.items()}
    times = defaultdict(list)
    patience = time.perf_counter() + PATIENCE
    for turn in range(repeat):
        now = time.perf_counter()
        if (turn > 0 and now > end) or (turn >= FEWEST and now > patience):
            break
        first = turn % len(contestants)
        for contestant in contestants[first:] + contestants[:first]:
            if contestant.missing is None:
                for slot, more in (contestant.ask("measure") or {}).items():
                    times[(contestant.name, contestant.column, *slot)].extend(more)
    keys = ("contestant", "column", "layout", "op")
    records = [
        dict(zip(keys, slot, strict=True)) | _summary(values) | {"off": off[slot]}
        for slot, values in times.items()
    ]
    return [{"case": case.name} | record for record in records], problems


def _summary(values: list[float]) -> dict[str, float]:
    q25, median, q75 = np.percentile(values, [25, 50, 75])
    return {"median": median, "q25": q25, "q75": q75, "n": len(values)}


def main() -> None:
    """Run, print, and write the files."""
    options = arguments()
    begin, usage = time.perf_counter(), machine.Usage()
    result = {
        "machine": machine.describe(options.threads, options.peers),
        "unit": "ms",
        "cases": [{"name": c.name, **vars(c), "nbytes": c.nbytes} for c in options.cases],
        "times": [],
        "problems": {},
        "missing": {},
    }
    everybody = start(options.peers, options.threads)
    end = begin + (QUICK if options.quick else float("inf"))
    for number, case in enumerate(options.cases, 1):
        present = [c for c in everybody if c.missing is None]
        for contestant in present:
            contestant.send("clear")
        for contestant in present:
            contestant.receive()
        need, free = COPIES * case.nbytes * len(present), machine.free_memory()
        if need > free:
            why = f"needs {need / 2**30:.0f} GB of memory, {free / 2**30:.0f} GB are free"
            result["problems"][case.name] = {"everybody": why}
        elif time.perf_counter() > end:
            result["problems"][case.name] = {"everybody": "no time left"}
        else:
            elapsed = time.perf_counter() - begin
            print(f"{elapsed:5.0f} s  {number}/{len(options.cases)}  {case.name}", file=sys.stderr)
            records, problems = run_case(case, present, options.repeat, end)
            result["times"] += records
            if problems:
                result["problems"][case.name] = problems
    result["missing"] = {c.name: c.missing for c in everybody if c.missing}
    for contestant in everybody:
        contestant.stop()

    result["machine"] |= usage.so_far()
    tables.show(result)
    if options.picture:
        picture.draw(result, options.picture)
    if options.json:
        results.write(result, options.json)


if __name__ == "__main__":
    main()
