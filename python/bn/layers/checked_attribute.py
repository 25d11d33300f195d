"""Attributes of a layer that are checked when they are set, or belong to an object that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Checked:
    """An attribute whose new values go through check(name, value) first.

    Without a ``__get__`` it is read from the object's own dict, as fast as any other attribute.
    """

    def __init__(self, default: object, check: Callable[[str, Any], object]) -> None:
        self.default = default
        self.check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, owner: object, value: object) -> None:
        self.check(self.name, value)
        vars(owner)[self.name] = value


def set_defaults(owner: object) -> None:
    """Give an object the default of each of its `Checked` attributes."""
    vars(owner).update({name: checked.default for name, checked in _all_checked(type(owner))})


def changed(owner: object) -> dict[str, object]:
    """The `Checked` attributes of an object that have not their default."""
    values = {name: getattr(owner, name) for name, _ in _all_checked(type(owner))}
    defaults = dict(_all_checked(type(owner)))
    return {name: value for name, value in values.items() if value != defaults[name].default}


def _all_checked(kind: type) -> list[tuple[str, Checked]]:
    return [
        (name, value)
        for base in reversed(kind.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, Checked)
    ]


def part_of(owner: str, name: str) -> Any:
    """A property that reads and sets attribute `name` of the object in attribute `owner`."""

    def read(layer: object) -> object:
        return getattr(getattr(layer, owner), name)

    def write(layer: object, value: object) -> None:
        setattr(getattr(layer, owner), name, value)

    return property(read, write)
