"""Train with 1, 2 and 4 processes, and predict it for more: ``python bench/scaling.py``.

ResNet-20 and a layer by itself, in weak scaling (the same batch on each rank) and strong scaling
(the same batch in all), with what they send. Then two ranks whose exchanges are late by 0, 0.1 and
1 ms; a model of the time of a step is fitted to these, and checked against 10 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import machine
import results
import scaling_picture
import scaling_tables

WORK = Path(__file__).with_name("scaling_work.py")


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network on 1 and 2 processes")
    parser.add_argument("--repeat", type=int, help="turns of each measurement (7; quick: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to a file")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw them (matplotlib)")
    options = parser.parse_args(argv)
    options.repeat = options.repeat or (1 if options.quick else 7)
    if options.repeat < 1:
        parser.error(f"--repeat must be at least 1, got {options.repeat}")
    return options


def mpiexec() -> str:
    """The command; the wheel of MPICH puts it beside the interpreter."""
    found = shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")
    if found is None:
        raise SystemExit("mpiexec is missing: pip install '.[mpi]'")
    return found


def measured(quick: bool, repeat: int) -> dict[str, Any]:
    """Run `scaling_work.py` on as many processes as its cases need, each with one thread."""
    ranks = 2 if quick else 4
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "result.json")
        work = [str(WORK), str(path), "quick" if quick else "all", str(repeat)]
        subprocess.run(
            [mpiexec(), "-n", str(ranks), sys.executable, *work],
            env={**os.environ, **one_thread},
            check=True,
        )
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def main(argv: list[str] | None = None) -> None:
    """Run, print, and write the files."""
    options = arguments(argv)
    usage = machine.Usage()
    result = measured(options.quick, options.repeat)
    result["machine"] = machine.describe(1, ["bn"]) | usage.so_far()
    scaling_tables.show(result)
    if options.picture:
        scaling_picture.draw(result, options.picture)
        print(f"\nwrote {options.picture}")
    if options.json:
        results.write(result, options.json)


if __name__ == "__main__":
    main()
