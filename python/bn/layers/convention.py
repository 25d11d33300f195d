"""What frameworks mean by momentum, running variance and eps, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bn import _check
from bn.layers.correction import Correction, eps_outside_root
from bn.statistics import Stats
from bn.types import Array


@dataclass(frozen=True)
class Convention:
    """How a framework keeps running statistics, and its defaults.

    Attributes
    ----------
    name : str
        The framework.
    momentum : float
        Its default.
    momentum_of : {"new", "old"}
        Whose weight the momentum is: that of the batch's value or of the running one.
    unbiased : bool
        The running variance is M2 / (M - 1), else M2 / M.
    eps : float
        Its default.
    axis : int
        The default channel axis.
    initial_var : float
        What the running variance begins with.
    eps_outside_root : bool
        ``y = (x - mean) / (sqrt(var) + eps)`` with var = M2 / (M - 1), as Darknet has it. Otherwise
        ``y = (x - mean) / sqrt(var + eps)`` with var = M2 / M.

    Examples
    --------
    >>> CONVENTIONS["keras"].share(0.99)
    0.01
    """

    name: str
    momentum: float
    momentum_of: Literal["new", "old"]
    unbiased: bool
    eps: float
    axis: int = 1
    initial_var: float = 1.0
    eps_outside_root: bool = False

    def share(self, momentum: float) -> float:
        """The weight of the batch's value, rounded to 15 decimals, so that 1 - 0.99 is 0.01."""
        return momentum if self.momentum_of == "new" else round(1 - momentum, 15)

    def kernel_eps(self, eps: float) -> float:
        """The eps that stands under the root, and which the kernels get."""
        return 0.0 if self.eps_outside_root else eps

    def kernel_var(self, running_var: Array, eps: float) -> Array:
        """The variance that, with `kernel_eps`, makes the kernels divide as the framework does."""
        if not self.eps_outside_root:
            return running_var
        return np.square(np.sqrt(running_var, dtype=np.float64) + eps)

    def correction(self, batch: Stats, eps: float) -> Correction | None:
        """What makes the framework's output of values normalized with `kernel_eps`; or None."""
        if not self.eps_outside_root:
            return None
        return eps_outside_root(np.sqrt(batch.unbiased_var), batch.var, eps)

    def words(self, momentum: float | None) -> str:
        """What a repr says of it."""
        of = "all batches alike" if momentum is None else self.momentum_of
        kind = "unbiased" if self.unbiased else "biased"
        outside = ", eps outside the root" if self.eps_outside_root else ""
        return f"momentum={momentum} ({of}), running_var={kind}{outside}"


TORCH = Convention("torch", 0.1, "new", unbiased=True, eps=1e-5)
KERAS = Convention("keras", 0.99, "old", unbiased=False, eps=1e-3, axis=-1)
CONVENTIONS = {
    convention.name: convention
    for convention in (
        TORCH,
        KERAS,
        Convention("flax", 0.99, "old", unbiased=False, eps=1e-5, axis=-1),
        Convention("onnx", 0.9, "old", unbiased=False, eps=1e-5),
        Convention("mxnet", 0.9, "old", unbiased=False, eps=1e-3),
        Convention(
            "darknet", 0.99, "old", unbiased=True, eps=1e-6, initial_var=0.0, eps_outside_root=True
        ),
    )
}


def share_at(start: str, share: float, batches: int) -> float:
    """The weight of the newest value when `batches` values have come, this one included.

    Running values begin with a guess (0 and 1), which fades slowly. The choices:

    - "plain": ``share``, always: the guess has the weight ``(1 - share)**n`` after n batches;
    - "debiased": ``share / (1 - (1 - share)**n)``: the guess has no weight, and the batches keep
      their relative weights of "plain" (the correction of Adam, and of Haiku's and Equinox's
      averages);
    - "first": 1 for the first batch, which replaces the guess, then ``share``;
    - "cumulative": ``1 / n``, the average of all batches (PyTorch's ``momentum=None``).

    Examples
    --------
    >>> [round(share_at("debiased", 0.1, n), 3) for n in (1, 2, 3)]
    [1.0, 0.526, 0.369]
    """
    if start == "plain":
        return share
    _check.start("start", start)
    if start == "cumulative" or (start == "first" and batches == 1):
        return 1 / batches
    if start == "debiased" and 0 < share < 1:
        return share / (1 - (1 - share) ** batches)
    return share
