"""Checks of studies' files."""

from __future__ import annotations

from pathlib import Path

from bn._check.base import printable

Version = tuple[object, object, object]


def no_study_results(path: Path) -> ValueError:
    return ValueError(printable(f"{path} is no file of results of `bn study`"))


def same_study(path: Path, found: Version, expected: Version) -> None:
    """Check the format, the version of bn, and whether the studies are quick ones."""
    if found[:2] != expected[:2]:
        raise ValueError(
            printable(
                f"{path} has results of bn {found[1]}, not {expected[1]}: choose another --out"
            )
        )
    if found[2] != expected[2]:
        kinds = {True: "quick", False: "full"}
        raise ValueError(
            printable(
                f"{path} has results of {kinds[bool(found[2])]} studies, not of "
                f"{kinds[bool(expected[2])]} ones: choose another --out"
            )
        )
