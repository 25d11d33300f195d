"""Where numbers that are not finite come from: the data, a layer, or the loss."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bn.inputs import Inputs, arrays_of, call_with, joined
from bn.layers.running_stats import NonFiniteWarning, no_stat_update
from bn.module import Module
from bn.nn.training.loader import Samples
from bn.recording.kept import no_grad
from bn.types import Array


def cause(model: Module, batches: Sequence[Samples], generators: Mapping[Any, Any]) -> str | None:
    """Words about where the first number that is not finite comes from in a forward pass.

    None if all inputs and outputs of layers are finite.

    The batches go through the model once more, as one batch and with the same random numbers; the
    model stays as it is.

    Parameters
    ----------
    model : Module
    batches : sequence of Samples
    generators : mapping of Generator to state
        The states before the first pass.
    """
    if not all(is_finite(array) for batch in batches for array in arrays_of(batch.x)):
        return "x of that batch has NaN or infinity"
    for generator, state in generators.items():
        generator.bit_generator.state = state
    found = _first(model, joined([batch.x for batch in batches]))
    if found is None:
        return None
    path, layer = found
    bad = [name for name, p in layer.own_parameters() if not is_finite(p.data)]
    further = f", whose {' and '.join(bad)} is not finite either" if bad else ""
    place = f"{path} ({type(layer).__name__})" if path else type(layer).__name__
    return f"the first layer whose output is not finite is {place}{further}"


def _first(model: Module, x: Inputs) -> tuple[str, Module] | None:
    """(path, layer) of the first output that is not finite."""
    found: list[tuple[str, Module]] = []
    layers = [(path, layer) for path, layer in model.named_modules() if not layer.records]
    names = {layer: path for path, layer in layers}

    def look(layer: Module, inputs: tuple[Any, ...], y: Any) -> None:
        outputs = y if isinstance(y, tuple) else (y,)
        if not found and not all(is_finite(each) for each in outputs):
            found.append((names[layer], layer))

    removes = [layer.register_forward_hook(look) for _, layer in layers]
    try:
        with no_stat_update(), no_grad(), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", NonFiniteWarning)
            call_with(model, x)
    finally:
        for remove in removes:
            remove()
    return found[0] if found else None


def first_bad_array(model: Module) -> str | None:
    """The name of a parameter or buffer that is not finite, if there is one."""
    return next((name for name, array in model.named_state() if not is_finite(array)), None)


def is_finite(x: Array) -> bool:
    """Whether all numbers of an array are finite; integers are."""
    return x.dtype.kind != "f" or bool(np.isfinite(x).all())
