"""`Flatten`: each sample of a batch as a vector."""

from __future__ import annotations

from typing import Any

from bn import _check
from bn.module import Module


class Flatten(Module):
    """Merges axes into one, in C order (the last axis varies fastest): all but the first.

    If x does not lie in memory in C order, the result is a copy; a `Linear` that follows in a model
    makes none.

    Parameters
    ----------
    start_dim, end_dim : int
        The first and the last of the axes that are merged.

    Raises
    ------
    ValueError
        On a call: x has fewer than 2 axes, or not these.

    References
    ----------
    torch.nn.Flatten.

    Examples
    --------
    >>> import numpy as np
    >>> Flatten()(np.ones((2, 3, 4, 4))).shape
    (2, 48)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = _check.integer("start_dim", start_dim)
        self.end_dim = _check.integer("end_dim", end_dim)

    def forward(self, x: Any) -> Any:
        _check.rank_at_least("x of Flatten", x, 2)
        return x.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
