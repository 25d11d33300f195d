"""What the losses share: how the losses of a batch become one number, and the sums for it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn.types import Array, Shape

REDUCTIONS = ("mean", "sum", "none")


class Loss:
    """A loss, which keeps what one call of its `backward` needs.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        What becomes of the losses of a batch; with "none", the result is an array of them.
    """

    option_names: ClassVar[tuple[str, ...]] = ("reduction",)  # what the repr shows

    def __init__(self, reduction: str) -> None:
        _check.one_of("reduction", reduction, REDUCTIONS)
        self.reduction = reduction
        self.count = 0.0  # what the mean of the last call was divided by
        self._saved: Any = None

    def __repr__(self) -> str:
        options = [f"{name}={_described(getattr(self, name))}" for name in self.option_names]
        return f"{type(self).__name__}({', '.join(options)})"

    def _reduced(self, total: np.float64, count: float) -> float:
        """The sum of the losses, or their mean."""
        self.count = float(count)
        if self.reduction == "sum":
            return float(total)
        with np.errstate(invalid="ignore"):  # 0 / 0, where all targets are ignored, is NaN
            return float(total / np.float64(count))

    def _factor(self, dloss: ArrayLike, shape: Shape, count: float) -> float | Array:
        """What the gradient of each loss is multiplied with: an array only if there are several."""
        factor = _check.numeric("dloss", _check.array("dloss", dloss))
        if factor.ndim == 0 or self.reduction != "none":
            _check.shape("dloss", factor, ())
            return float(factor) / count if self.reduction == "mean" and count else float(factor)
        _check.shape("dloss", factor, shape)
        return factor


def _described(option: object) -> str:
    if not isinstance(option, np.ndarray):
        return repr(option)
    return repr(option.item()) if option.ndim == 0 else f"array of shape {option.shape}"


def in_order(sums: dict[int, np.float64]) -> np.float64:
    """The sum of the values, always in the order of their keys, whichever thread was first."""
    total = np.float64(0)
    for begin in sorted(sums):
        total += sums[begin]
    return total
