"""What Keras's layers begin their parameters with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bn import _check
from bn.types import Array, Shape

Initializer = str | Callable[[Shape, np.dtype[Any]], Array]

_NAMED: dict[str, Callable[[Shape, np.dtype[Any]], Array]] = {
    "zeros": np.zeros,
    "ones": np.ones,
    "Zeros": np.zeros,
    "Ones": np.ones,
}


def initializer(name: str, value: Initializer) -> tuple[str, Initializer]:
    """An initializer that was checked, with the name of its argument."""
    _check.initializer(name, value, _NAMED)
    return name, value


def initial_value(
    initializer: tuple[str, Initializer], shape: Shape, dtype: np.dtype[Any]
) -> Array:
    """What an initializer gives for a shape."""
    name, value = initializer
    make = _NAMED[value] if isinstance(value, str) else value
    array: Array = np.asarray(make(shape, dtype)).astype(dtype)
    _check.shape(f"{name}'s result", array, shape)
    return array
