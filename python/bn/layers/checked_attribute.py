"""Attributes of a layer that are checked when they are set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Choice:
    """An attribute whose new values go through check(name, value) first.

    Without a __get__ it is read from the layer's own dict, as fast as any other attribute.
    """

    def __init__(self, default: object, check: Callable[[str, Any], object]) -> None:
        self.default = default
        self.check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, layer: object, value: object) -> None:
        self.check(self.name, value)
        vars(layer)[self.name] = value


def choices(kind: type) -> dict[str, Choice]:
    """All of a class, by name."""
    return {
        name: value
        for base in reversed(kind.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, Choice)
    }
