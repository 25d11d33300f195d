"""The outputs of a model for many samples, batch by batch, in eval mode."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from bn import _check
from bn.inputs import Inputs, call_with, samples, taken
from bn.recording.kept import no_grad
from bn.types import Array

if TYPE_CHECKING:
    from bn.module import Module

# Several threads may evaluate one model, or models that share layers. A layer gets its mode back
# when the last of them is done. The values are the number of threads and the mode.
_evaluated: WeakKeyDictionary[Module, tuple[int, bool]] = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Within it a model is in eval mode and keeps nothing for a backward pass.

    Parameters
    ----------
    model : Module
        All its layers get their modes back, each its own.

    Examples
    --------
    >>> from bn import nn
    >>> model = nn.Sequential(nn.ReLU())
    >>> with evaluating(model):
    ...     print(model.training, model[0].training)
    False False
    >>> model.training
    True
    """
    modules = set(model.modules())
    with _lock:
        for module in modules:
            users, mode = _evaluated.get(module, (0, module.training))
            _evaluated[module] = users + 1, mode
            if module.training:
                module.training = False
    try:
        with no_grad():
            yield
    finally:
        with _lock:
            for module in modules:
                _leave(module)


def _leave(module: Module) -> None:
    users, mode = _evaluated.pop(module)
    if users > 1:
        _evaluated[module] = users - 1, mode
    elif mode:
        module.training = True


def predict(model: Module, x: Inputs, batch_size: int) -> Array:
    """What `Module.predict` returns."""
    x = _check.inputs("x", x)
    _check.positive_int("batch_size", batch_size)
    n = samples(x)
    with evaluating(model):
        return _joined((call_with(model, taken(x, part)) for part in parts(n, batch_size)), n)


def parts(n: int, size: int) -> list[slice]:
    """Divide n samples into batches of `size` and a last one of the rest; no sample is one batch.

    Parameters
    ----------
    n, size : int

    Returns
    -------
    list of slice

    Examples
    --------
    >>> parts(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(begin, min(begin + size, n)) for begin in range(0, max(n, 1), size)]


def _joined(outputs: Iterable[Array], n: int) -> Array:
    """The outputs of all batches in one array, which has n rows."""
    joined: Array | None = None
    done = 0
    for y in outputs:
        _check.one_output(y)
        if len(y) == n:
            return y
        if joined is None:
            joined = np.empty((n, *y.shape[1:]), y.dtype)
        joined[done : done + len(y)] = y
        done += len(y)
    assert joined is not None
    return joined
