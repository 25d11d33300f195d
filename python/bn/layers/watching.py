"""Looking at what batch normalization layers get and give while a model runs."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from bn import _check
from bn._core import core
from bn.module import Module
from bn.statistics import Stats
from bn.types import Array

if TYPE_CHECKING:
    from bn.layers.batch_norm import BatchNorm

Callback = Callable[[str, "BatchNorm", Array, Array, Stats], object]
Watched = dict[int, tuple[tuple[str, Callback], ...]]  # by a layer's id, its paths and callbacks

_watched: ContextVar[tuple[Watched, object] | None] = ContextVar("bn_watched", default=None)


class watching(core.Setting):
    """Within it, each forward pass of the batch normalization layers in a model calls a function.

    Parameters
    ----------
    model : Module
        A layer or a model.
    callback : callable
        ``callback(path, layer, x, y, batch)``: the layer's dotted path in the model, the layer, its
        input and output, and the statistics of this input, a `Stats`, whether or not the layer
        normalized with them. x is what the statistics are of: where a mask leaves out values that
        are not finite, they are 0. The call comes before the batch enters the running statistics;
        an exception of the callback ends the forward pass, and nothing has changed.

    Raises
    ------
    TypeError
        `model` is no Module, or `callback` cannot be called.

    Notes
    -----
    It holds for this thread. Blocks may be nested, with the same or other models and callbacks. In
    eval mode the statistics are computed for the callback's sake, which takes one more pass over x.

    Examples
    --------
    >>> import bn, numpy as np
    >>> from bn import nn
    >>> model = nn.Sequential(nn.Linear(2, 3, rng=0), bn.BatchNorm1d(3)).eval()
    >>> def look(path, layer, x, y, batch):
    ...     print(path, x.shape, batch.count)
    >>> with bn.watching(model, look):
    ...     y = model(np.ones((4, 2), np.float32))
    1 (4, 3) [4. 4. 4.]
    """

    def __init__(self, model: Module, callback: Callback) -> None:
        _check.instance("model", model, Module)
        _check.function("callback", callback)
        super().__init__(_watched)
        self.model, self.callback = model, callback

    def value(self) -> Watched:
        """What is watched within the block: all that was, and the layers of this model."""
        watched = dict(_now())
        for path, layer in self.model.named_modules():
            told = path or type(layer).__name__, self.callback
            watched[id(layer)] = (*watched.get(id(layer), ()), told)
        return watched


def is_watched(layer: Module) -> bool:
    """Whether a `watching` block holds for this layer."""
    return id(layer) in _now()


def tell_watchers(layer: BatchNorm, x: Array, y: Array, batch: Stats) -> None:
    """Call the callbacks of the `watching` blocks that hold for this layer."""
    for path, callback in _now().get(id(layer), ()):
        callback(path, layer, x, y, batch)


def _now() -> Watched:
    watched = _watched.get()
    return {} if watched is None else watched[0]
