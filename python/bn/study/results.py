"""What was measured, and how a study looks it up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bn.study.statistics import Estimate, estimate
from bn.types import Array

Setting = dict[str, Any]
Measured = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """One measurement; `seconds` are those of the processor."""

    setting: Setting
    seed: int
    seconds: float
    measured: Measured

    def has(self, **chosen: Any) -> bool:
        """Whether the setting has these values."""
        return all(self.setting.get(name) == value for name, value in chosen.items())


class Results:
    """The measurements of a study, in which every setting has the same seeds.

    Parameters
    ----------
    records : iterable of Record

    Examples
    --------
    >>> results = Results([
    ...     Record({"norm": "batch", "lr": lr}, seed, 1.0, {"validation": 0.9 + lr, "test": 0.8})
    ...     for lr in (0.01, 0.05) for seed in (0, 1)
    ... ])
    >>> results.values("test", norm="batch", lr=0.01)
    array([0.8, 0.8])
    >>> results.best("lr", "validation", norm="batch")
    0.05
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = list(records)

    @property
    def seeds(self) -> list[int]:
        """The seeds, in their order."""
        return sorted({record.seed for record in self.records})

    @property
    def seconds(self) -> float:
        """The processor time of all measurements."""
        return sum(record.seconds for record in self.records)

    def axis(self, name: str) -> list[Any]:
        """The values that settings have under one name, in the order of the plan."""
        found: list[Any] = []
        for record in self.records:
            if name in record.setting and record.setting[name] not in found:
                found.append(record.setting[name])
        return found

    def where(self, **chosen: Any) -> Results:
        """The measurements whose settings have these values."""
        return Results(record for record in self.records if record.has(**chosen))

    def values(self, name: str, **chosen: Any) -> Array:
        """What was measured under one name in one setting, by seed; None becomes NaN."""
        found = sorted((r for r in self.records if r.has(**chosen)), key=lambda r: r.seed)
        if len({r.seed for r in found}) != len(found):
            raise LookupError(f"{chosen} are several settings of {name!r}")
        if not found:
            raise LookupError(f"no setting has {chosen}")
        values = [r.measured[name] for r in found]
        return np.array([math.nan if value is None else value for value in values], float)

    def estimate(self, name: str, scale: float = 1.0, **chosen: Any) -> Estimate:
        """The mean over the seeds, and its interval, times `scale`."""
        return estimate(scale * self.values(name, **chosen))

    def best(self, axis: str, by: str, *, least: bool = False, **chosen: Any) -> Any:
        """The value of an axis at which the mean of `by` is largest, or `least`.

        This is how a learning rate is tuned: `by` is measured on samples for validation, and what
        is reported is measured on others.
        """
        chosen_ones = self.where(**chosen)
        sign = 1 if least else -1
        means = {o: _mean(chosen_ones, by, {axis: o}, sign) for o in chosen_ones.axis(axis)}
        return min(means, key=lambda option: sign * means[option])

    def tuned(self, name: str, *, over: str = "lr", by: str = "validation", **chosen: Any) -> Array:
        """What was measured under one name, by seed, where an axis has its best value."""
        return self.values(name, **{**chosen, over: self.best(over, by, **chosen)})

    def curve(self, name: str, scale: float = 1.0) -> list[Estimate]:
        """The estimates of a list that was measured in one setting, place by place."""
        curves = [record.measured[name] for record in self.records]
        return [
            estimate([math.nan if value is None else scale * value for value in values])
            for values in zip(*curves, strict=True)
        ]


def _mean(results: Results, name: str, chosen: Mapping[str, Any], sign: int) -> float:
    """The mean, or the worst number if a value is missing."""
    mean = float(np.mean(results.values(name, **chosen)))
    return sign * math.inf if math.isnan(mean) else mean


def rounded(measured: Mapping[str, Any], digits: int = 6) -> Measured:
    """Numbers with so many significant digits, as `results.json` keeps them; not finite is None.

    Examples
    --------
    >>> rounded({"test": 0.123456789, "loss": [1e9, float("nan")], "epochs": 3})
    {'test': 0.123457, 'loss': [1000000000.0, None], 'epochs': 3}
    """
    return {name: _rounded(value, digits) for name, value in measured.items()}


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str):
        return [_rounded(one, digits) for one in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")
