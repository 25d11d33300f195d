"""Expected failures, which end the command with one sentence on stderr and exit code 1."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

from bn import _check
from bn.cli.process import command_name


class Failure(Exception):
    """An expected failure; its message is one sentence for the user, who reads it in a terminal."""

    def __init__(self, message: str) -> None:
        super().__init__(_check.printable(message))


def require(command: str, module: str, package: str, extra: str = "demo") -> None:
    """Raise `Failure` if `module`, which `command` needs, is missing.

    `package` installs the module, and `extra` all packages that the command needs.
    """
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        needed = _check.missing_package(
            f"`{command_name()} {command}`", package, f"'.[{extra}]' in a checkout of bn"
        )
        raise Failure(needed) from error


@contextmanager
def expected(*errors: type[Exception]) -> Iterator[None]:
    """Turn errors of these types into a `Failure` with the same message."""
    try:
        yield
    except errors as error:
        raise Failure(_check.sentence(error)) from error
