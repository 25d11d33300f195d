"""What was seen of a forward pass: the calls of batch normalizations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bn.convert.setting import Setting, setting_of
from bn.explaining.results import Results, computed, distances
from bn.layers import BatchNorm
from bn.types import Array


class Seen(NamedTuple):
    """One call of a batch normalization.

    Attributes
    ----------
    path : str
        Where the layer is in its model.
    setting : Setting or None
        What it computes, before the call; None if that cannot be read.
    x : ndarray
    results : Results
    """

    path: str
    setting: Setting | None
    x: Array
    results: Results

    def with_axis_of(self, other: Seen) -> Seen:
        """The same call with its channels on the axis of another one."""
        if self.setting is None or other.setting is None:
            return self
        own, axis = self.setting.axis, other.setting.axis
        results = self.results._replace(y=np.moveaxis(self.results.y, own, axis))
        setting = replace(self.setting, axis=axis)
        return Seen(self.path, setting, np.moveaxis(self.x, own, axis), results)

    def surprise(self) -> float:
        """How far the results are from those of the setting."""
        assert self.setting is not None
        return max(distances(computed(self.setting, self.x), self.results).values())


class Run(NamedTuple):
    """One forward pass.

    Attributes
    ----------
    y : ndarray
    seen : list of Seen
        The calls of batch normalizations, in their order.
    """

    y: Array
    seen: list[Seen]

    def is_one_layer(self) -> bool:
        """Whether it is the call of one batch normalization, and nothing else."""
        return len(self.seen) == 1 and np.array_equal(self.seen[0].results.y, self.y)


def readable(layer: BatchNorm, ndim: int) -> Setting | None:
    """The setting of a layer for x of so many axes, with its axis counted from the front.

    Batch renormalization has none, because it computes more.
    """
    if getattr(layer, "renorm", None) is not None:
        return None
    found = setting_of(layer)
    return replace(found, axis=found.axis % ndim)


def setting_by(reader: Callable[..., Any], ndim: int, *layer: Any) -> Setting | None:
    """The same of a layer of a framework, by a function of `bn.convert`."""
    try:
        made = reader(*layer)
    except (TypeError, ValueError):  # a class of somebody's own, or more than bn has
        return None
    return readable(made, ndim) if isinstance(made, BatchNorm) and made.built else None
