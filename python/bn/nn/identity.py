"""`Identity`: a layer that does nothing."""

from __future__ import annotations

from typing import Any

from bn.module import Module


class Identity(Module):
    """y = x; it stands where a layer is not wanted.

    Parameters
    ----------
    *args, **options
        Ignored, so that it can be made with the arguments of the layer in whose place it stands.

    References
    ----------
    torch.nn.Identity.

    Examples
    --------
    >>> import numpy as np
    >>> Identity()(np.array([1.0, 2.0]))
    array([1., 2.])
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def forward(self, x: Any) -> Any:
        return x
