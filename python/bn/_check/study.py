"""Checks of studies' files."""

from __future__ import annotations

from pathlib import Path

from bn._check.base import printable

Kind = tuple[str, bool]


def no_study_results(path: Path) -> ValueError:
    return ValueError(
        printable(f"{path} is no file of results of `bn study`, or damaged: choose another --out")
    )


def same_study(path: Path, found: Kind, expected: Kind) -> None:
    """Check the version of bn, and whether the studies are quick ones."""
    if found[0] != expected[0]:
        text = f"{path} has results of bn {found[0]}, not {expected[0]}: choose another --out"
        raise ValueError(printable(text))
    if found[1] != expected[1]:
        kinds = {True: "quick", False: "full"}
        text = f"{path} has results of {kinds[found[1]]} studies, not of {kinds[expected[1]]} ones"
        raise ValueError(printable(f"{text}: choose another --out"))
