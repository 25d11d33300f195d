"""`check_inputs`: whether what a backward pass needs is still as the forward pass kept it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np

from bn import _check
from bn.mode import Mode
from bn.types import Array


class check_inputs(Mode):
    """A backward pass raises an error if an array that its layer kept was changed in place.

    Layers keep a reference to their input or output, not a copy. If such an array is changed in
    place before the backward pass, the gradients are wrong. With this check forward passes take a
    checksum of what they keep, and backward passes compare it; each reads these arrays once more.
    Parameters are compared where a layer keeps them, and arguments of pure functions, such as
    `bn.backward_batch`, are not.

    Parameters
    ----------
    mode : bool, default True
        Whether to check.

    Raises
    ------
    TypeError
        `mode` is not a bool.

    Notes
    -----
    It holds for this thread: from the call on, or until the end of a ``with`` block. A forward pass
    within it is checked, wherever its backward pass is.

    References
    ----------
    torch.autograd, "In-place correctness checks".

    Examples
    --------
    >>> import bn
    >>> layer, x = bn.BatchNorm1d(2), np.ones((20, 2))
    >>> with bn.check_inputs():
    ...     y = layer(x)
    >>> x += 1
    >>> layer.backward(y)
    Traceback (most recent call last):
    ...
    RuntimeError: x of BatchNorm1d was changed in place between forward and backward
    """

    default = False

    def __init__(self, mode: bool = True) -> None:
        super().__init__(mode)
        self._before = self.variable.get()
        self.variable.set((mode, self._before))

    def __exit__(self, *error: object) -> None:
        self.variable.set(self._before)


setting = check_inputs.variable  # None where nobody has asked for a check


class Sum(NamedTuple):
    """The checksum of an array in a forward pass.

    Attributes
    ----------
    name : str
        What the array is to the layer or operation.
    owner : str
        The layer or operation.
    array : ndarray
    checksum : int
    """

    name: str
    owner: str
    array: Array
    checksum: int


class Summed(tuple[Any, ...]):
    """Values that a layer keeps, with the checksums of the arrays among them.

    Attributes
    ----------
    sums : list of Sum
    """

    sums: list[Sum]


def summed(owner: str, names: tuple[str, ...], values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values that a layer keeps, with checksums if `check_inputs` asks for them."""
    names = names or ("an array",) * len(values)
    sums = sums_of(owner, zip(names, values, strict=False))
    if sums is None:
        return values
    kept = Summed(values)
    kept.sums = sums
    return kept


def sums_of(owner: str, values: Iterable[tuple[str, object]]) -> list[Sum] | None:
    """Checksums of all arrays in these (name, value) pairs; None if nothing is to be checked."""
    if not check_inputs.on():
        return None
    return [
        Sum(own_name, owner, array, _checksum(array))
        for name, value in values
        for own_name, array in _arrays_in(name, value)
    ]


def check_unchanged(sums: Iterable[Sum]) -> None:
    """Check that arrays have the checksums that they had in the forward pass."""
    for name, owner, array, checksum in sums:
        if _checksum(array) != checksum:
            raise _check.changed_in_place(name, owner)


def _arrays_in(name: str, value: Any) -> Iterator[tuple[str, Array]]:
    """(name, array) of an array, or of those in a tuple, a list or a dataclass."""
    if isinstance(value, np.ndarray):
        yield name, value
    elif is_dataclass(value):
        for field in fields(value):
            yield from _arrays_in(field.name, getattr(value, field.name))
    elif isinstance(value, (tuple, list)):
        names = getattr(value, "_fields", [name] * len(value))  # of a NamedTuple
        for each_name, each in zip(names, value, strict=True):
            yield from _arrays_in(each_name, each)


def _checksum(array: Array) -> int:
    """Of the values as they lie in memory; they are copied only if there are gaps between them."""
    return zlib.crc32(array.ravel("K").view(np.uint8).data)
