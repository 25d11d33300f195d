"""`Mode`: a setting that is on or off, until a `with` block switches it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, ClassVar

from bn import _check
from bn._core import core


class Mode(core.Setting):
    """What `bn.nn.fused`, `bn.nn.winograd` and `bn.check_inputs` share: a setting of this thread.

    Parameters
    ----------
    mode : bool, default True
        Whether it is on within the block.

    Raises
    ------
    TypeError
        `mode` is not a bool.

    Examples
    --------
    >>> from bn import nn
    >>> with nn.fused(False):
    ...     nn.fused.on()
    False
    >>> nn.fused.on()
    True
    """

    default: ClassVar[bool] = True  # whether it is on outside of all blocks
    variable: ClassVar[ContextVar[tuple[bool, Any] | None]]

    def __init_subclass__(cls) -> None:
        cls.variable = ContextVar(cls.__name__, default=None)

    def __init__(self, mode: bool = True) -> None:
        _check.flag("mode", mode)
        super().__init__(self.variable)
        self.mode = mode

    def value(self) -> bool:
        """Whether it is on within the block."""
        return self.mode

    @classmethod
    def on(cls) -> bool:
        """Whether it is on now."""
        state = cls.variable.get()
        return cls.default if state is None else state[0]
