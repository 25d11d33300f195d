"""What reads which operator: a table that the modules of operators fill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bn.module import Module
from bn.onnx.operands import Given
from bn.types import Array

if TYPE_CHECKING:
    from bn.onnx.building import Building

Read = Callable[["Building", Given], None]
READERS: dict[str, Read] = {}


def reads(*operators: str) -> Callable[[Read], Read]:
    """Make a function the one that reads nodes of these operators.

    It gets the model while it is being made, and what the node has.
    """

    def noted(read: Read) -> Read:
        READERS.update(dict.fromkeys(operators, read))
        return read

    return noted


def with_state(made: Module, **arrays: Array | None) -> Module:
    """A layer with arrays in the place of its own."""
    return made.load_state_dict({n: a for n, a in arrays.items() if a is not None})


def plain(sizes: Sequence[float]) -> Any:
    """The sizes of images as a tuple, and that of signals as a number."""
    return tuple(sizes) if len(sizes) > 1 else sizes[0]


def padding_of(
    given: Given, axes: int, same: Sequence[int] | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The padding before and after each axis.

    `same` is the padding of each axis that keeps its length, which auto_pad may share out; None
    where it is not known.
    """
    way = given.attribute("auto_pad", "NOTSET")
    if same is not None and way in ("SAME_UPPER", "SAME_LOWER"):
        less, more = tuple(n // 2 for n in same), tuple(n - n // 2 for n in same)
        return (less, more) if way == "SAME_UPPER" else (more, less)
    if way not in ("NOTSET", "VALID"):
        raise ValueError(f"auto_pad of {given.operator} must be 'NOTSET', got {way!r}")
    pads = given.sizes("pads", 2 * axes, 0)
    return pads[:axes], pads[axes:]


def same_padding(given: Given, before: Any, after: Any) -> Any:
    """The padding of both sides, which must be the same."""
    if before != after:
        raise ValueError(f"pads of {given.operator} must be the same on both sides")
    return before
