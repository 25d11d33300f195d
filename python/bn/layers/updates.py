"""A switch that keeps batches out of all running statistics."""

from __future__ import annotations

from contextlib import ContextDecorator
from contextvars import ContextVar

from bn._core import core

_allowed: ContextVar[bool] = ContextVar("bn_updates_allowed", default=True)


def updates_allowed() -> bool:
    return _allowed.get()


class no_stat_update(core.Setting, ContextDecorator):
    """Within it no batch enters running statistics, whatever the layers' modes.

    For a second forward pass over the same batch (recomputed activations, adversarial examples, a
    discriminator that only looks). It holds for this thread. It can decorate a function, too.

    Examples
    --------
    >>> import bn, numpy as np
    >>> layer = bn.BatchNorm1d(3)
    >>> with no_stat_update():
    ...     y = layer(np.ones((20, 3), np.float32))
    >>> layer.running_mean, int(layer.num_batches_tracked)
    (array([0., 0., 0.], dtype=float32), 0)
    """

    def __init__(self) -> None:
        super().__init__(_allowed, False)
