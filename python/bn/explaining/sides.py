"""The two sides of a comparison: how each is called, and what its batch normalizations did."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from bn import _check
from bn.convert.setting import copied
from bn.explaining.flax_side import run_linen, run_nnx
from bn.explaining.keras_side import run_keras
from bn.explaining.results import Results
from bn.explaining.seen import Run, Seen, readable
from bn.explaining.torch_side import run_torch
from bn.layers import BatchNorm, no_stat_update, watching
from bn.layers.batch_norm import batch_norms
from bn.module import Module
from bn.recording.kept import no_grad
from bn.statistics import Stats
from bn.types import Array


def run(name: str, side: Any, x: Array, training: bool | None) -> Run:
    """Run a layer, a model or a function of any framework; nothing of it changes.

    Parameters
    ----------
    name : str
        What messages call it.
    side : object
        A layer or model; the pair (module, variables) of Flax's linen; a function of an array; or
        an array of outputs.
    x : ndarray
    training : bool or None
        None leaves each layer its own mode.

    Returns
    -------
    Run
    """
    if isinstance(side, np.ndarray) or _check.is_foreign(side):
        return Run(_check.array(name, side), [])
    for is_one, run_one in FRAMEWORKS:
        if is_one(side):
            return run_one(side, x, training)
    _check.function(name, side)
    return Run(_check.array(f"the output of {name}", side(x)), [])


def run_bn(model: Module, x: Array, training: bool | None) -> Run:
    """Run a layer or model of `bn`."""
    twin = copy.deepcopy(model)
    if training is not None:
        twin.train(training)
    with no_grad():
        if not all(module.built for module in twin.modules()):
            with no_stat_update():
                twin(x)
        calls: list[_Call] = []

        def before(path: str, layer: BatchNorm, x: Array, y: Array, batch: Stats) -> None:
            calls.append(_Call(layer, Seen(path, readable(layer, x.ndim), x, Results(y))))

        def behind(layer: Any, inputs: Any, y: Any) -> None:
            calls[-1].end(layer)

        for _, layer in batch_norms(twin):
            layer.register_forward_hook(behind)
        with watching(twin, before):
            y = twin(x)
    return Run(y, [call.seen if call.ended else call.unreadable() for call in calls])


class _Call:
    """A call of a layer of `bn`, from its beginning on."""

    def __init__(self, layer: BatchNorm, seen: Seen) -> None:
        self.layer, self.seen, self.ended = layer, seen, False

    def end(self, layer: BatchNorm) -> None:
        """Note the running statistics after the call."""
        assert layer is self.layer
        running = copied(layer.running_mean), copied(layer.running_var)
        results = Results(self.seen.results.y, *running)
        self.seen, self.ended = self.seen._replace(results=results), True

    def unreadable(self) -> Seen:
        """What is known where a wrapper, such as ghost batches, did the layer's steps itself."""
        return self.seen._replace(setting=None)


def of_loaded(package: str, name: str) -> Callable[[Any], bool]:
    """Whether a value is of a class, which is asked only if its package has been imported."""

    def is_one(value: Any) -> bool:
        kind: Any = sys.modules.get(package)
        for part in name.split("."):
            kind = getattr(kind, part, None)
        return kind is not None and isinstance(value, kind)

    return is_one


def _is_linen(value: Any) -> bool:
    is_module = of_loaded("flax.linen", "Module")
    return isinstance(value, tuple) and len(value) == 2 and is_module(value[0])


# In this order: with PyTorch as its backend, a layer of Keras is a module of PyTorch too.
FRAMEWORKS: tuple[tuple[Callable[[Any], bool], Callable[..., Run]], ...] = (
    (lambda value: isinstance(value, Module), run_bn),
    (of_loaded("keras", "layers.Layer"), run_keras),
    (of_loaded("torch", "nn.Module"), run_torch),
    (_is_linen, run_linen),
    (of_loaded("flax.nnx", "Module"), run_nnx),
)
