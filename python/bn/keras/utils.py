"""Targets as rows, sequences as rows, seeds and names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bn import _check
from bn.keras import names, randomness
from bn.types import Array

__all__ = ["clear_session", "pad_sequences", "set_random_seed", "to_categorical"]

SIDES = ("pre", "post")


def to_categorical(x: ArrayLike, num_classes: int | None = None) -> Array:
    """The numbers of classes as rows with a 1 at the class.

    Parameters
    ----------
    x : array_like, shape (...) or (..., 1)
        Numbers from 0.
    num_classes : int, optional
        By default as many as the largest number needs.

    Returns
    -------
    ndarray of float64, shape (..., num_classes)

    Raises
    ------
    ValueError
        A number is negative, no whole number, or too large.

    References
    ----------
    keras.utils.to_categorical.

    Examples
    --------
    >>> to_categorical([0, 2], 3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    numbers = _check.numeric("x", _check.array("x", x))
    _check.whole_numbers("x", numbers)
    if numbers.ndim > 1 and numbers.shape[-1] == 1:
        numbers = numbers[..., 0]
    numbers = numbers.astype(np.int64)
    if num_classes is None:
        num_classes = int(numbers.max(initial=-1)) + 1
    _check.classes_below("x", numbers, num_classes)
    rows = np.zeros((numbers.size, num_classes))
    rows[np.arange(numbers.size), numbers.ravel()] = 1
    return rows.reshape(*numbers.shape, num_classes)


def pad_sequences(
    sequences: Sequence[Sequence[Any]],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: float = 0.0,
) -> Array:
    """Sequences of different lengths as the rows of one array.

    Parameters
    ----------
    sequences : sequence of sequence of numbers
    maxlen : int, optional
        The length of the rows, by default that of the longest sequence.
    dtype : dtype_like
    padding : {"pre", "post"}
        Where the rows of shorter sequences have `value`.
    truncating : {"pre", "post"}
        Where longer sequences are cut.
    value : float

    Returns
    -------
    ndarray, shape (len(sequences), maxlen)

    Raises
    ------
    ValueError
        An argument is none of these.

    References
    ----------
    keras.utils.pad_sequences.

    Examples
    --------
    >>> pad_sequences([[1], [2, 3, 4]], maxlen=2)
    array([[0, 1],
           [3, 4]], dtype=int32)
    """
    _check.one_of("padding", padding, SIDES)
    _check.one_of("truncating", truncating, SIDES)
    _check.optional_positive_int("maxlen", maxlen)
    length = max(map(len, sequences), default=0) if maxlen is None else maxlen
    rows = np.full((len(sequences), length), value, dtype)
    for row, sequence in zip(rows, sequences, strict=True):
        kept = sequence[-length:] if truncating == "pre" else sequence[:length]
        if len(kept):
            row[slice(-len(kept), None) if padding == "pre" else slice(len(kept))] = kept
    return rows


def set_random_seed(seed: int) -> None:
    """Begin initial weights, dropout and the order of samples at a seed.

    Parameters
    ----------
    seed : int

    References
    ----------
    keras.utils.set_random_seed. NumPy's and Python's own generators stay as they are.

    Examples
    --------
    >>> set_random_seed(7)
    """
    randomness.begin_at(seed)


def clear_session() -> None:
    """Begin the numbers in the names of layers again.

    References
    ----------
    keras.utils.clear_session.

    Examples
    --------
    >>> clear_session()
    """
    names.forget_names()


if not TYPE_CHECKING:  # type checkers would believe that there is every name

    def __getattr__(name: str) -> NoReturn:
        raise _check.no_name_in_keras("bn.keras.utils", "function", name, __all__)
