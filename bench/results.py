"""What benchmarks share: their options, their file, and how they print."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import machine
import tables

WIDTH = 240  # of a line of a file, so that a record is one line


def parser(doc: str, repeat: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have; `doc` is the module's docstring."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    made.add_argument("--repeat", type=int, default=repeat, help=f"turns of each ({repeat})")
    made.add_argument("--threads", type=int, default=machine.cores(), help="for everybody")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all results to a file")
    return made


def finish(result: dict[str, Any], titled: dict[str, tables.Cells], path: Path | None) -> None:
    """Print the machine, the tables under their titles and what was not timed; write the file."""
    print(tables.header(result["machine"]))
    for title, cells in titled.items():
        print("\n" + tables.plain(title, cells))
    for case in result.get("cases", ()):
        for name, why in case.get("problems", {}).items():
            print(f"not timed: {case['title']}: {name}: {why}")
    if path:
        write(result, path)


def write(result: dict[str, Any], path: Path) -> None:
    """Write a result, with a line for each record."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_lines(_rounded(result)) + "\n", encoding="utf-8")
    print(f"\nwrote {path}")


def _rounded(value: Any) -> Any:
    """Four digits of each float: more tell nothing, and make the file long."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def _lines(value: Any, indent: str = "") -> str:
    """JSON in which whatever fits a line is on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(indent + flat) <= WIDTH:
        return flat
    more = indent + " "
    if isinstance(value, list):
        body = [_lines(each, more) for each in value]
        return "[\n" + ",\n".join(more + each for each in body) + f"\n{indent}]"
    pairs = [
        f"{json.dumps(key, ensure_ascii=False)}: {_lines(v, more)}" for key, v in value.items()
    ]
    return "{\n" + ",\n".join(more + each for each in pairs) + f"\n{indent}}}"
