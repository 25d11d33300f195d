"""Expected failures: one sentence on stderr and exit code 1, never a traceback."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

from bn import _check


class Failure(Exception):
    """What went wrong, as one sentence for the person at the terminal."""


def require(command: str, module: str, package: str) -> None:
    """Raise `Failure` where `module`, which `package` installs and `command` needs, is missing."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise Failure(_check.missing_package(f"`python -m bn {command}`", package)) from error


@contextmanager
def expected(*errors: type[Exception]) -> Iterator[None]:
    """Turn `errors` into `Failure` with the same words."""
    try:
        yield
    except errors as error:
        raise Failure(_check.sentence(error)) from error
