"""Types of command-line arguments, whose errors argparse reports with the option's name."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

from bn import _check


def integer(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of a whole number of at least `least` and, if that is given, at most `most`."""

    def parse(text: str) -> int:
        try:
            return _check.whole_number(text, least, most)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from error

    return parse


def positive(text: str) -> float:
    """Convert text to a finite number above zero."""
    try:
        return _check.positive_number(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
