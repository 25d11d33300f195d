"""Names of the types in signatures."""

from __future__ import annotations

from typing import Any

from numpy import float64
from numpy.typing import NDArray

Array = NDArray[Any]
Doubles = NDArray[float64]
Shape = tuple[int, ...]
Gradient = Any  # an Array, or None if the caller did not want it
