"""The words of an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bn.types import Array

FLAGS = {  # of fields that are true or false: the words for both
    "training": ("the batch's statistics", "running statistics"),
    "eps_outside": ("outside the root", "under the root"),
    "unbiased": ("unbiased", "biased"),
    "normalizes_unbiased": ("unbiased", "biased"),
}
NOTHING = {"weight": "fixed to 1", "bias": "fixed to 0", "share": "all batches alike"}


def shown(fields: Mapping[str, Any]) -> str:
    """Some fields of a setting, as a table shows them.

    Examples
    --------
    >>> shown({"eps": 1e-3}), shown({"weight": None}), shown({"training": True})
    ('0.001', 'fixed to 1', "the batch's statistics")
    >>> shown({"axis": 3, "mean": np.zeros(16), "var": np.ones(16)})
    '3, which has 16 channels'
    >>> shown({"mean": np.array([0.0, 2.0]), "var": np.array([1.0, 4.0])})
    'mean 0 to 2, var 1 to 4'
    """
    if len(fields) == 1:
        ((field, value),) = fields.items()
        return _one(field, value)
    if "axis" in fields:
        (channels,) = {value.size for field, value in fields.items() if field != "axis"}
        return f"{_one('axis', fields['axis'])}, which has {channels} channels"
    return ", ".join(f"{field} {_one(field, value)}" for field, value in fields.items())


def _one(field: str, value: Any) -> str:
    if value is None:
        return NOTHING.get(field, "none")
    if field in FLAGS:
        return FLAGS[field][0 if value else 1]
    if isinstance(value, np.ndarray):
        return f"{value.min():.3g} to {value.max():.3g}" if value.size else "no values"
    return f"{value:.6g}"


def shapes(a: Array, b: Array) -> str:
    """That two arrays have different shapes, and which.

    Examples
    --------
    >>> shapes(np.zeros((2, 3)), np.zeros((2, 4)))
    'different shapes, (2, 3) of a and (2, 4) of b'
    """
    return f"different shapes, {a.shape} of a and {b.shape} of b"


def sentence(names: tuple[str, ...], before: float, remaining: float, tolerance: float) -> str:
    """What the causes of these names explain.

    Examples
    --------
    >>> sentence(("epsilon",), 0.5, 1e-8, 1e-6)
    'Epsilon explains the difference of 0.5: 1e-08 remains, which is rounding.'
    >>> sentence(("epsilon", "axis"), 0.5, 0.1, 1e-6)
    'Epsilon and axis explain a part of the difference of 0.5: 0.1 remains, which nothing that \
was tried explains.'
    >>> sentence((), 0.5, 0.5, 1e-6)
    'Nothing that was tried explains the difference of 0.5.'
    >>> sentence(("axis",), np.inf, 1e-8, 1e-6)
    'Axis explains the difference: 1e-08 remains, which is rounding.'
    """
    difference = f"the difference of {before:.2g}" if np.isfinite(before) else "the difference"
    if not names:
        return f"Nothing that was tried explains {difference}."
    several = len(names) > 1
    who = f"{', '.join(names[:-1])} and {names[-1]}" if several else names[0]
    who = who[0].upper() + who[1:]
    verb = "explain" if several else "explains"
    if remaining <= tolerance:
        return f"{who} {verb} {difference}: {remaining:.2g} remains, which is rounding."
    return (
        f"{who} {verb} a part of {difference}: "
        f"{remaining:.2g} remains, which nothing that was tried explains."
    )
