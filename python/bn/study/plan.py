"""What a study is: a claim, the settings in which it is measured, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from bn.study.conclusion import Conclusion
from bn.study.results import Measured, Results, Setting

SEEDS = 5


@dataclass(frozen=True)
class Study:
    """A claim and its test.

    Attributes
    ----------
    name : str
    claim : str
        What tutorials say, in a sentence.
    source : str
        Where a published figure can be compared, and what it shows.
    method : str
        Data, networks, training and tuning, in whole sentences.
    settings : callable
        ``settings(quick)`` lists what is measured, once with each seed. A setting is a dict of
        plain values, which holds all that the measurement depends on but the seed. Twins differ in
        what is tested and have the same learning rates, so that all of them are tuned alike.
    measure : callable
        ``measure(setting, seed)`` returns numbers, and lists of numbers, by name.
    conclude : callable
        ``conclude(results)`` returns the conclusion. It must hold for any numbers.
    minutes : float
        The budget of the full study on two cores. What does not fit is left out, the last seeds
        first, and the report says so.
    seeds : int
    """

    name: str
    claim: str
    source: str
    method: str
    settings: Callable[[bool], list[Setting]]
    measure: Callable[[Setting, int], Measured]
    conclude: Callable[[Results], Conclusion]
    minutes: float
    seeds: int = SEEDS


def grid(**axes: Sequence[Any]) -> list[Setting]:
    """All combinations of the values of each axis, the last axis fastest.

    Examples
    --------
    >>> grid(norm=["batch", "none"], lr=[0.1])
    [{'norm': 'batch', 'lr': 0.1}, {'norm': 'none', 'lr': 0.1}]
    """
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def extended(settings: Sequence[Mapping[str, Any]], **values: Any) -> list[Setting]:
    """Each setting with further values.

    Examples
    --------
    >>> extended(grid(lr=[0.1, 1.0]), epochs=3)
    [{'lr': 0.1, 'epochs': 3}, {'lr': 1.0, 'epochs': 3}]
    """
    return [{**setting, **values} for setting in settings]


def by_case(
    cases: Mapping[str, Mapping[str, Any]], *, shorter: int = 1, **axes: Sequence[Any]
) -> list[Setting]:
    """The grid of the axes for each case, with the values that the case has.

    Parameters
    ----------
    cases : dict of dict
        Each with its ``"epochs"``, which are divided by `shorter`.
    shorter : int
    **axes : sequence
        As in `grid`.

    Examples
    --------
    >>> by_case({"CNN": {"epochs": 20}}, shorter=2, lr=[0.1])
    [{'case': 'CNN', 'lr': 0.1, 'epochs': 10}]
    """
    found: list[Setting] = []
    for case, values in cases.items():
        epochs = values["epochs"] // shorter
        found += extended(grid(case=[case], **axes), **{**values, "epochs": epochs})
    return found
