"""The state of an optimizer, as Keras's files have it: numbered arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bn import _check
from bn.keras.layers.weight import Weight
from bn.keras.optimizers import Optimizer
from bn.types import Array

PLACE = "optimizer/vars/"


def state_of(model: Any) -> Iterator[tuple[str, Array]]:
    """(where Keras has it in a file, array) of the state of a model's optimizer, if it has one.

    The number of steps comes first, and then the rate, unless a schedule says it.

    Parameters
    ----------
    model : Model

    Examples
    --------
    >>> from bn import keras
    >>> model = keras.Sequential([keras.layers.Dense(3, input_shape=(4,))])
    >>> list(state_of(model))
    []
    """
    if not model.compiled or not model.optimizer.built:
        return
    optimizer: Optimizer = model.optimizer
    yield f"{PLACE}0", np.asarray(optimizer.iterations, np.int32)
    if optimizer.numbers() == 2:
        yield f"{PLACE}1", np.asarray(optimizer.learning_rate, np.float32)
    steps = optimizer.bound_to(model.parameters())
    kept = {id(p): state for p, state in zip(steps.params, steps.state, strict=True)}
    for number, (weight, name) in enumerate(_slots(model), optimizer.numbers()):
        # A weight that has not been stepped yet has zeros.
        arrays = [kept[id(p)].get(name, np.zeros_like(p.data)) for p in weight.parameters]
        sign = optimizer.signs.get(name, 1)
        yield f"{PLACE}{number}", sign * weight.layout.to_keras(*arrays)


def put_state(model: Any, arrays: Mapping[str, Array]) -> None:
    """Give a model's optimizer the state of a file, or raise and change nothing.

    Parameters
    ----------
    model : Model
        It was compiled.
    arrays : mapping of str to ndarray
        All arrays of the file. Without a state among them, the optimizer begins anew.
    """
    given = {key: array for key, array in arrays.items() if key.startswith(PLACE)}
    optimizer: Optimizer = model.optimizer
    slots, first = list(_slots(model)), optimizer.numbers()
    if len(given) <= first:
        return
    _check.optimizer_arrays(sorted(given), [f"{PLACE}{i}" for i in range(first + len(slots))])
    _check.whole_count("the number of steps", given[f"{PLACE}0"].tolist())
    steps = optimizer.bound_to(model.parameters())
    states: list[dict[str, Any]] = [{} for _ in steps.params]
    places = {id(p): state for p, state in zip(steps.params, states, strict=True)}
    for number, (weight, name) in enumerate(slots, first):
        array = given[f"{PLACE}{number}"]
        _check.shape(f"{PLACE}{number}", array, weight.shape)
        parts = weight.layout.from_keras(optimizer.signs.get(name, 1) * array)
        for p, part in zip(weight.parameters, parts, strict=True):
            places[id(p)][name] = np.array(part, p.dtype, order="C")
    optimizer.iterations = int(given[f"{PLACE}0"])
    if first == 2:
        optimizer.learning_rate = float(given[f"{PLACE}1"])
    for state in states:
        if "step" in steps.state_names and state:
            state["step"] = optimizer.iterations
    steps.state = states


def _slots(model: Any) -> Iterator[tuple[Weight, str]]:
    """(weight, what is remembered of it), in Keras's order."""
    for names in model.optimizer.remembers():
        for weight in model.trainable_weights:
            for name in names:
                yield weight, name
