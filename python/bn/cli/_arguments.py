"""Types of command-line arguments: argparse names the option, `_check` says what is wrong."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

from bn import _check


def integer(least: int, most: int | None = None) -> Callable[[str], int]:
    """A whole number of at least `least`, and of at most `most` if that is given."""

    def parse(text: str) -> int:
        try:
            return _check.whole_number(text, least, most)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from error

    return parse


def positive(text: str) -> float:
    """A finite number above zero."""
    try:
        return _check.positive_number(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
