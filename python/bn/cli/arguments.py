"""The parser, whose errors are one line, and the types of its arguments."""

from __future__ import annotations

import re
from argparse import Action, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from bn import _check


class Parser(ArgumentParser):
    """A parser whose errors are one line, which names the option that was probably meant."""

    def __init__(self, **options: Any) -> None:
        # An abbreviated option would be taken for another one as soon as there is a new option.
        self.options: list[str] = []
        super().__init__(**options, allow_abbrev=False)

    def add_argument(self, *names: Any, **options: Any) -> Action:
        """Add an argument, and remember its names."""
        action = super().add_argument(*names, **options)
        self.options += action.option_strings
        return action

    # argparse says `Namespace | N`, but the command only gets a Namespace.
    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Namespace | None = None
    ) -> tuple[Namespace, list[str]]:
        """Parse, and refuse unknown options here, where the names of the known ones are at hand."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(self.unknown(unknown))
        return known, unknown

    def unknown(self, words: Sequence[str]) -> str:
        options = [word.partition("=")[0] for word in words if word.startswith("-")]
        if not options:
            return f"unexpected argument {words[0]!r}"
        return f"there is no option {options[0]}" + meant(options[0], self.options)

    def error(self, message: str) -> NoReturn:
        """Print one line and end the process."""
        found = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if found is not None:
            message += meant(found[1], re.findall(r"[\w-]+", found[2]))
        if "did you mean" not in message:
            message += f" (`{self.prog} --help` explains)"
        self.exit(2, _check.printable(f"{self.prog}: {message}") + "\n")


def meant(word: str, known: Iterable[str]) -> str:
    """A question for what resembles `word` most, or nothing.

    Examples
    --------
    >>> meant("--epocs", ["--epochs", "--lr"])
    '; did you mean --epochs?'
    """
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


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
