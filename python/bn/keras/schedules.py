"""Learning rates that depend on the number of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from bn import _check
from bn.keras.configs import Configured, named


class LearningRateSchedule(Configured):
    """The base class: ``schedule(step)`` returns the learning rate of a step, counted from 0.

    Examples
    --------
    >>> class Halved(LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.5**step
    >>> Halved()(2)
    0.25
    """

    keras_module = "keras.optimizers.schedules"

    def __call__(self, step: int) -> float:
        """The learning rate of a step."""
        raise NotImplementedError(f"{type(self).__name__}.__call__")


class ExponentialDecay(LearningRateSchedule):
    """``initial_learning_rate · decay_rate ** (step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
    staircase : bool
        Whether the exponent is rounded down.
    name : str

    References
    ----------
    keras.optimizers.schedules.ExponentialDecay.

    Examples
    --------
    >>> ExponentialDecay(1.0, decay_steps=10, decay_rate=0.5)(20)
    0.25
    """

    config_names: ClassVar[tuple[str, ...]] = (
        "initial_learning_rate",
        "decay_steps",
        "decay_rate",
        "staircase",
        "name",
    )

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        _check.at_least("initial_learning_rate", initial_learning_rate, 0)
        _check.positive_int("decay_steps", decay_steps)
        _check.above("decay_rate", decay_rate, 0)
        _check.flag("staircase", staircase)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.decay_rate, self.staircase, self.name = decay_rate, staircase, name

    def __call__(self, step: int) -> float:
        exponent = step / self.decay_steps
        exponent = math.floor(exponent) if self.staircase else exponent
        return float(self.initial_learning_rate * self.decay_rate**exponent)


class PiecewiseConstantDecay(LearningRateSchedule):
    """One rate up to each boundary, that step included, and a last one behind.

    Parameters
    ----------
    boundaries : sequence of int
        Increasing.
    values : sequence of float
        One more.
    name : str

    References
    ----------
    keras.optimizers.schedules.PiecewiseConstantDecay.

    Examples
    --------
    >>> rate = PiecewiseConstantDecay([2], [1.0, 0.1])
    >>> rate(2), rate(3)
    (1.0, 0.1)
    """

    config_names: ClassVar[tuple[str, ...]] = ("boundaries", "values", "name")

    def __init__(
        self, boundaries: Sequence[int], values: Sequence[float], name: str = "PiecewiseConstant"
    ) -> None:
        _check.one_more_value(boundaries, values)
        self.boundaries, self.values, self.name = list(boundaries), list(values), name

    def __call__(self, step: int) -> float:
        passed = sum(step > boundary for boundary in self.boundaries)
        return float(self.values[passed])


class CosineDecay(LearningRateSchedule):
    """Half a wave of the cosine, from the first rate to `alpha` times as much.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    alpha : float
    name : str
    **others
        Further arguments of Keras, those of a warm-up, which must be at their defaults.

    References
    ----------
    keras.optimizers.schedules.CosineDecay; Loshchilov and Hutter, "SGDR", 2016.

    Examples
    --------
    >>> rate = CosineDecay(1.0, decay_steps=10)
    >>> round(rate(5), 6), round(rate(20), 6)
    (0.5, 0.0)
    """

    config_names: ClassVar[tuple[str, ...]] = (
        "initial_learning_rate",
        "decay_steps",
        "alpha",
        "name",
    )
    refused: ClassVar[Mapping[str, Any]] = {"warmup_target": None, "warmup_steps": 0}

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        **others: Any,
    ) -> None:
        _check.keras_arguments("CosineDecay", others, self.refused)
        _check.at_least("initial_learning_rate", initial_learning_rate, 0)
        _check.positive_int("decay_steps", decay_steps)
        _check.interval("alpha", alpha, 0, 1)
        self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps
        self.alpha, self.name = alpha, name

    def __call__(self, step: int) -> float:
        wave = (1 + math.cos(math.pi * min(step, self.decay_steps) / self.decay_steps)) / 2
        return float(self.initial_learning_rate * ((1 - self.alpha) * wave + self.alpha))


CLASSES = (CosineDecay, ExponentialDecay, PiecewiseConstantDecay)
NAMES: dict[str, Any] = {each.__name__: each for each in CLASSES}


def get(value: Any) -> Any:
    """A learning rate: a number, or what is called with the number of the step.

    Parameters
    ----------
    value : float, LearningRateSchedule, callable or dict

    Raises
    ------
    TypeError, ValueError
        It is none of these.

    Examples
    --------
    >>> get(0.5)
    0.5
    """
    found = named("schedule", value, NAMES)
    if not callable(found):
        _check.at_least("learning_rate", found, 0)
    return found
