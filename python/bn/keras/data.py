"""What `fit` and its like are given, as samples of `bn.nn`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from bn import _check, nn
from bn.inputs import Inputs, arrays_of, samples, taken
from bn.keras.randomness import rng_of
from bn.keras.targets import class_weights
from bn.nn.training.loader import Samples

if TYPE_CHECKING:
    from bn.keras.bridge import Bridge
    from bn.keras.training import Trainer


def inputs_of(model: Trainer, x: Any) -> Inputs:
    """The inputs of a model: an array, or for several inputs a tuple of them in its order."""
    names = model.input_names if model.built else []
    if isinstance(x, Mapping):
        _check.keras_input_names(x, names)
        x = [x[name] for name in names]
    elif len(names) < 2:
        return _check.array("x", x)
    _check.keras_kind("x", x, (tuple, list), "a list of arrays, one for each input")
    return tuple(_check.array("each input", each) for each in x)


def is_batches(x: Any, y: Any) -> bool:
    """Whether x is an iterable of batches, which have the targets in them."""
    return y is None and not isinstance(x, (np.ndarray, Mapping)) and isinstance(x, Iterable)


def is_one_set(given: Any) -> bool:
    """Whether validation data are (x, y) or (x, y, sample_weight), not a list of such batches."""
    is_list = isinstance(given, list)
    return isinstance(given, tuple) or (
        is_list and not all(isinstance(b, (tuple, list)) for b in given)
    )


def samples_of(
    model: Trainer, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None
) -> Samples:
    """All samples, with their weights."""
    _check.keras_y(y)
    inputs, targets = inputs_of(model, x), _check.array("y", y)
    _check.as_many_targets("y", arrays_of(inputs)[0], targets)
    weights = None if sample_weight is None else _check.array("sample_weight", sample_weight)
    if class_weight is not None:
        _check.one_kind_of_weights(sample_weight)
        weights = class_weights(class_weight, targets)
    return Samples(inputs, targets, weights)


def part_of(whole: Samples, rows: slice) -> Samples:
    """Some of the samples."""
    weight = None if whole.weight is None else whole.weight[rows]
    return Samples(taken(whole.x, rows), whole.y[rows], weight)


def divided(whole: Samples, share: float) -> tuple[Samples, Samples | None]:
    """The samples for training, and the last ones for validation; None for a share of 0.

    Parameters
    ----------
    whole : Samples
    share : float

    Examples
    --------
    >>> train, held_out = divided(Samples(np.arange(10), np.arange(10)), 0.2)
    >>> len(train), held_out.y
    (8, array([8, 9]))
    """
    kept = _check.keras_split(share, samples(whole.x))
    if not share:
        return whole, None
    return part_of(whole, slice(kept)), part_of(whole, slice(kept, None))


def loader_of(whole: Samples, batch_size: int, shuffle: bool) -> nn.BatchLoader:
    """The samples in batches."""
    return nn.BatchLoader(
        whole.x, whole.y, batch_size,
        sample_weight=whole.weight, shuffle=shuffle, rng=rng_of(None),
    )  # fmt: skip


class Batches:
    """Batches, as arrays; those of a training tell the callbacks when epochs and batches begin.

    Parameters
    ----------
    model : Trainer
    source : iterable of batches
    steps : int or None
        How many batches an epoch has; the next one goes on behind them. None for all.
    bridge : Bridge, optional
        Of a training.
    """

    def __init__(
        self, model: Trainer, source: Iterable[Any], steps: int | None, bridge: Bridge | None = None
    ) -> None:
        _check.optional_positive_int("steps", steps)
        self.model, self.source, self.steps, self.bridge = model, source, steps, bridge
        self._going: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        if self.bridge is not None:
            self.bridge.begin_epoch()
        for batch in islice(self._all(), self.steps):
            found = batch_of(self.model, batch)
            if self.bridge is not None:
                if self.model.stop_training:
                    return
                self.bridge.begin_batch()
            yield found

    def _all(self) -> Iterator[Any]:
        if self.steps is None:
            return iter(self.source)
        if self._going is None:
            self._going = _endless(self.source)
        return self._going


def _endless(source: Iterable[Any]) -> Iterator[Any]:
    """The batches again and again, until there are none."""
    while True:
        empty = True
        for batch in source:
            empty = False
            yield batch
        if empty:
            return


def batch_of(model: Trainer, batch: Any) -> tuple[Any, ...]:
    """A batch of an iterable as arrays."""
    _check.keras_pair_of("a batch", batch)
    x, y, *weight = batch
    return inputs_of(model, x), np.asarray(y), *(np.asarray(each) for each in weight)
