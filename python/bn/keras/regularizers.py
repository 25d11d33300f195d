"""Penalties on weights, which are part of the loss."""

from __future__ import annotations

from typing import Any, ClassVar

from bn import _check
from bn.keras.configs import Configured, made, named
from bn.layers.regularizers import Regularizer


class L1L2(Configured, Regularizer):
    """``l1·Σ|w| + l2·Σw²``.

    Parameters
    ----------
    l1, l2 : float
        At least 0.

    Raises
    ------
    ValueError
        A factor is negative or no number.

    References
    ----------
    keras.regularizers.L1L2.

    Examples
    --------
    >>> import numpy as np
    >>> L1L2(l1=1, l2=0.5)(np.array([1.0, -2.0]))
    5.5
    """

    config_names: ClassVar[tuple[str, ...]] = ("l1", "l2")
    keras_module = "keras.regularizers"

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        Regularizer.__init__(self, l1 or 0.0, l2 or 0.0)


class L1(L1L2):
    """``l1·Σ|w|``.

    Parameters
    ----------
    l1 : float

    References
    ----------
    keras.regularizers.L1.

    Examples
    --------
    >>> import numpy as np
    >>> L1(0.5)(np.array([1.0, -2.0]))
    1.5
    """

    config_names: ClassVar[tuple[str, ...]] = ("l1",)

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)


class L2(L1L2):
    """``l2·Σw²``.

    Parameters
    ----------
    l2 : float

    References
    ----------
    keras.regularizers.L2.

    Examples
    --------
    >>> import numpy as np
    >>> L2(0.5)(np.array([1.0, -2.0]))
    2.5
    """

    config_names: ClassVar[tuple[str, ...]] = ("l2",)

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)


l1, l2, l1_l2 = L1, L2, L1L2
NAMES: dict[str, Any] = {"l1": L1, "l2": L2, "l1_l2": L1L2(0.01, 0.01)}
NAMES |= {"L1": L1, "L2": L2, "L1L2": L1L2}


def get(identifier: Any) -> Regularizer | None:
    """The regularizer that an argument stands for.

    Parameters
    ----------
    identifier : str, dict, Regularizer, class of them or None

    Raises
    ------
    TypeError, ValueError
        It stands for none.

    Examples
    --------
    >>> get("l2").l2, get(None)
    (0.01, None)
    """
    found = named("regularizer", made(identifier), NAMES)
    if found is not None:
        _check.keras_kind("a regularizer", found, Regularizer, "a name or a Regularizer")
    return found  # type: ignore[no-any-return]
