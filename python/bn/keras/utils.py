"""`to_categorical`, seeds and names."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn.keras import names, randomness
from bn.types import Array

__all__ = ["clear_session", "set_random_seed", "to_categorical"]


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
