"""Where a layer keeps what its backward pass needs: in itself, or in the record of its call."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import numpy as np

from bn._core import core
from bn.types import Shape

Kept = tuple[Shape, np.dtype[Any], tuple[Any, ...]]  # of y its shape and dtype; what was kept
Frame = dict[object, Kept]  # what the layers of one call kept, by layer


class _Nowhere(Frame):
    """A frame that keeps nothing."""

    def __setitem__(self, layer: object, kept: Kept) -> None:
        pass


NOWHERE = _Nowhere()

# A pair: what runs now, a record or the frame of a call, and the pair that was here before that.
# The `core.Setting` of the outermost block puts the pair before it back, whatever was set inside.
current: ContextVar[tuple[Any, Any] | None] = ContextVar("bn_recording", default=None)


def now() -> Any:
    """The record whose forward runs, or the frame of the call that runs, or None.

    Examples
    --------
    >>> now() is None
    True
    """
    state = current.get()
    return None if state is None else state[0]


def running_record() -> Any:
    """The record whose forward runs; None while a layer inside of it runs, or without any.

    Examples
    --------
    >>> running_record() is None
    True
    """
    running = now()
    return None if isinstance(running, dict) else running


class no_grad(core.Setting):
    """Within it, calls keep nothing for a backward pass.

    Layers and models in eval mode then change no attribute, so that several threads can call one
    model at the same time.

    Notes
    -----
    It holds for this thread.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> layer = nn.ReLU()
    >>> with nn.no_grad():
    ...     y = layer(np.ones(2))
    >>> layer.backward(np.ones(2))
    Traceback (most recent call last):
    ...
    RuntimeError: ReLU.backward must follow ReLU's forward, once for each call
    """

    def __init__(self) -> None:
        super().__init__(current)

    def value(self) -> Frame:
        return NOWHERE


class frame_of(core.Setting):
    """Within it, layers keep in this frame, and take from it."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(current)
        self.frame = frame

    def value(self) -> Frame:
        return self.frame
