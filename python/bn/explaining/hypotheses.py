"""Hypotheses: in what two batch normalizations may differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bn.convert.setting import Setting
from bn.types import Array

COMMON_EPS = (1e-3, 1e-5, 1e-6, 1e-8, 1e-12, 0.0)
COMMON_SHARES = (0.1, 0.01, 0.9, 0.99, 0.0)  # of 0, no batch enters
# The fields that are changed together, by what they are called.
NAMES = {
    "mode": ("training",),
    "epsilon": ("eps",),
    "place of epsilon": ("eps_outside",),
    "gamma": ("weight",),
    "beta": ("bias",),
    "axis": ("axis",),
    "running statistics": ("mean", "var"),
    "variance that normalizes": ("normalizes_unbiased",),
    "momentum": ("share",),
    "kind of running variance": ("unbiased",),
}
NEUTRAL = {"weight": 1.0, "bias": 0.0}  # what None stands for
FRESH = {
    "weight": 1.0,
    "bias": 0.0,
    "mean": 0.0,
    "var": 1.0,
}  # the vectors, as a new layer has them


class Hypothesis(NamedTuple):
    """That one thing is otherwise.

    Attributes
    ----------
    name : str
    fields : dict
        The fields of a `Setting`, and their other values.
    """

    name: str
    fields: Mapping[str, Any]


def read(own: Setting, other: Setting) -> list[Hypothesis]:
    """What two settings differ in.

    Where another axis has another number of channels, the vectors of its channels belong to it.

    Examples
    --------
    >>> import bn
    >>> from bn.convert.setting import setting_of
    >>> torch, keras = bn.BatchNorm1d(3), bn.BatchNormalization(axis=1)
    >>> keras.build_channels(3)
    >>> [each.name for each in read(setting_of(torch), setting_of(keras))]
    ['epsilon', 'momentum', 'kind of running variance']
    """
    resized = _of_other_sizes(own, other)
    found = []
    for name, own_fields in NAMES.items():
        fields = [field for field in own_fields if field not in resized]
        fields += resized if name == "axis" else []
        values = {field: getattr(other, field) for field in fields}
        if not all(alike(field, getattr(own, field), value) for field, value in values.items()):
            found.append(Hypothesis(name, values))
    return found


def _of_other_sizes(own: Setting, other: Setting) -> list[str]:
    """The vectors of which two settings have different numbers of channels."""
    pairs = {field: (getattr(own, field), getattr(other, field)) for field in FRESH}
    return [
        field
        for field, (one, its) in pairs.items()
        if one is not None and its is not None and one.size != its.size
    ]


def alike(field: str, one: Any, other: Any) -> bool:
    """Whether two values of a field compute the same."""
    if field in NEUTRAL and not (one is None and other is None):
        one, other = (NEUTRAL[field] if each is None else each for each in (one, other))
        return bool(np.all(one == other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other, equal_nan=True)
    return one is other if one is None or other is None else bool(one == other)


def usual(own: Setting, x: Array) -> list[Hypothesis]:
    """What often differs, for a side that does not say what it computes."""
    found = [Hypothesis("mode", {"training": not own.training})]
    found += [Hypothesis("epsilon", {"eps": eps}) for eps in COMMON_EPS if eps != own.eps]
    found.append(Hypothesis("place of epsilon", {"eps_outside": not own.eps_outside}))
    if own.weight is not None:
        found.append(Hypothesis("gamma", {"weight": None}))
    if own.bias is not None:
        found.append(Hypothesis("beta", {"bias": None}))
    axes = (axis for axis in range(x.ndim) if axis != own.axis % x.ndim)
    found += [Hypothesis("axis", _on_axis(own, axis, x.shape[axis])) for axis in axes]
    flipped = not own.normalizes_unbiased
    found.append(Hypothesis("variance that normalizes", {"normalizes_unbiased": flipped}))
    if own.mean is not None:
        shares = dict.fromkeys([*COMMON_SHARES, *([] if own.share is None else [1 - own.share])])
        found += [
            Hypothesis("momentum", {"share": share}) for share in shares if share != own.share
        ]
        found.append(Hypothesis("kind of running variance", {"unbiased": not own.unbiased}))
    return found


def _on_axis(own: Setting, axis: int, channels: int) -> dict[str, Any]:
    """Another axis; the vectors that do not fit its number of channels are those of a new layer."""
    fields: dict[str, Any] = {"axis": axis}
    for field, value in FRESH.items():
        values = getattr(own, field)
        if values is not None and values.size != channels:
            fields[field] = np.full(channels, value, values.dtype)
    return fields


def applied(own: Setting, hypotheses: Sequence[Hypothesis]) -> Setting:
    """The setting in which these are so."""
    fields: dict[str, Any] = {}
    for each in hypotheses:
        fields.update(each.fields)
    return replace(own, **fields)


def fits(setting: Setting, x: Array) -> bool:
    """Whether x has a channel for each value of the setting's vectors."""
    if not -x.ndim <= setting.axis < x.ndim:
        return False
    vectors = [getattr(setting, field) for field in FRESH]
    return all(vector is None or vector.size == x.shape[setting.axis] for vector in vectors)
