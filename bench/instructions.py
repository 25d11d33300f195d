"""Count the instructions of some calls, and compare them with committed figures.

``python bench/instructions.py`` prints a table, and fails if a call takes over 5 % more
instructions than ``instructions.json`` says. Over 5 % less is told, and is no failure. ``--update``
writes the figures; they are committed with the change that moved them.

One process makes all calls under valgrind's callgrind, with the AVX2 kernels and on one thread. A
tiny library, compiled on the spot, tells callgrind where a call begins and where it ends. All that
happens in between is counted: kernels, Python and NumPy; but no import, warm-up or making of data.

Instructions are not time, since caches, memory and threads do not count. But the counts are the
same on a busy machine, so they show a loop that lost its vectors or a pass over a tensor too many.
They depend on the compiler and on the flags that Python gives it, and in calls on small tensors on
Python and NumPy. Where these are not the ones that the figures were made with, the ratio is shown,
but it is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import tables

FIGURES = Path(__file__).with_name("instructions.json")
WORK = Path(__file__).with_name("instruction_work.py")
TOLERANCE = 0.05
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
PYTHONS_OWN = "small "  # how the names of calls begin whose instructions are mostly Python's

SLOWER, FASTER = "SLOWER", "faster: update the figures"
NO_FIGURE, NO_CALL = "NO FIGURE: update the figures", "NO SUCH CALL: update the figures"


class Counts(NamedTuple):
    """Instructions by call, and the versions of what they depend on."""

    made_with: Mapping[str, str]
    instructions: Mapping[str, int]


class Row(NamedTuple):
    """One call; None is a figure that is missing on this side."""

    call: str
    committed: int | None
    measured: int | None
    other: str  # what the figures were not made with; empty where the two can be compared

    @property
    def ratio(self) -> float | None:
        """Measured over committed."""
        return self.measured / self.committed if self.measured and self.committed else None

    @property
    def verdict(self) -> str:
        """What is to be said about it; empty where nothing is."""
        if self.ratio is None:
            return NO_CALL if self.committed else NO_FIGURE
        if abs(self.ratio - 1) <= TOLERANCE:
            return ""
        if self.other:
            return f"not judged: {self.other}"
        return SLOWER if self.ratio > 1 else FASTER

    @property
    def fails(self) -> bool:
        return self.verdict in (SLOWER, NO_FIGURE, NO_CALL)


def compare(committed: Counts, measured: Counts) -> list[Row]:
    """One row for each call that has a figure or was counted."""
    names = dict.fromkeys([*measured.instructions, *committed.instructions])
    return [
        Row(
            name,
            committed.instructions.get(name),
            measured.instructions.get(name),
            _other(name, committed.made_with, measured.made_with),
        )
        for name in names
    ]


def _other(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The versions that count in this call and are not those of the figures."""
    keys = [key for key in now if name.startswith(PYTHONS_OWN) or key.startswith("compiler")]
    return ", ".join(f"{key} {now[key]}" for key in keys if now[key] != before.get(key))


def table(rows: list[Row]) -> str:
    """All rows, for people."""
    cells = [["call", "committed", "measured", "ratio", ""]]
    for row in rows:
        ratio = "–" if row.ratio is None else f"{row.ratio:.3f}"
        counts = ["–" if n is None else f"{n:,}" for n in (row.committed, row.measured)]
        cells.append([row.call, *counts, ratio, row.verdict])
    return tables.plain("instructions of one call", cells)


def conclusion(rows: list[Row]) -> str:
    """The calls that fail, and how many could not be judged."""
    failing = [f"{row.call}: {row.verdict}" for row in rows if row.fails]
    lines = [f"{len(failing)} of {len(rows)} calls fail.", *failing]
    others = Counter(row.other for row in rows if row.other and row.ratio)
    for other, n in others.items():
        lines.append(f"{n} calls are not judged: the figures were not made with {other}.")
    return "\n".join(lines)


def read(path: Path) -> Counts:
    """The figures of a file; there are none if there is no file."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return Counts(found.get("made with", {}), found.get("instructions", {}))


def write(path: Path, counts: Counts) -> None:
    """Write figures, one on a line."""
    content = {"made with": counts.made_with, "instructions": counts.instructions}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def measure() -> Counts:
    """Make all calls under valgrind."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    valgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run(folder, *compiler, "-shared", "-fPIC", "-O2", WORK.with_suffix(".c"), "-o", "marks.so")
        _run(folder, *valgrind, "--callgrind-out-file=calls", sys.executable, WORK)
        dumps = sorted(folder.glob("calls.*"), key=lambda path: int(path.suffix[1:]))
        counted = dict(parse(path.read_text(encoding="utf-8")) for path in dumps)
        return Counts(json.loads((folder / "made_with.json").read_text()), counted)


def _run(folder: Path, *command: str | Path) -> None:
    """Run in a folder, as its random name in an argument would change what Python does a little."""
    if not shutil.which(command[0]):
        sys.exit(f"to count instructions, {command[0]} must be installed")
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stderr}")


def parse(dump: str) -> tuple[str, int]:
    """The name of a call and its instructions, from what callgrind wrote."""
    mark = re.search(r"^desc: Trigger: Client Request: (.*)\|(\d+)$", dump, re.M)
    total = re.search(r"^totals: (\d+)$", dump, re.M)
    if not mark or not total:
        sys.exit(f"callgrind's file tells no call or no total: {dump[:500]}")
    return mark[1], round(int(total[1]) / int(mark[2]))


def main(argv: list[str] | None = None) -> None:
    """Count, then compare or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write the figures")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="another file of figures")
    options = parser.parse_args(argv)
    measured = measure()
    rows = compare(read(options.figures), measured)
    print(table(rows))
    if options.update:
        write(options.figures, measured)
        print(f"\nwrote {options.figures}")
        return
    print(f"\n{conclusion(rows)}")
    sys.exit(any(row.fails for row in rows))


if __name__ == "__main__":
    main()
