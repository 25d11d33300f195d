"""How many numbers weights may hold while a model is made from a stranger's file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from bn import _check

_left: ContextVar[list[int] | None] = ContextVar("numbers that are left", default=None)


@contextmanager
def at_most(numbers: int) -> Iterator[None]:
    """Within it, layers may make weights of so many numbers together.

    Parameters
    ----------
    numbers : int

    Examples
    --------
    >>> with at_most(100):
    ...     spend("dense", 60)
    """
    token = _left.set([numbers])
    try:
        yield
    finally:
        _left.reset(token)


def spend(layer: str, numbers: int) -> None:
    """Take the numbers of a layer's weights, before they are made, off what is left.

    Parameters
    ----------
    layer : str
    numbers : int

    Raises
    ------
    ValueError
        There are not so many left.

    Examples
    --------
    >>> spend("dense", 60)
    """
    left = _left.get()
    if left is not None:
        _check.keras_weights_in_file(layer, numbers, left[0])
        left[0] -= numbers
