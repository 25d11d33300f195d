"""Keras's optimizers: their arguments and defaults; `steps` has their formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from bn import _check
from bn.keras import schedules
from bn.keras.configs import Configured, named, plain
from bn.keras.names import snake_case
from bn.keras.steps import AdamSteps, RMSpropSteps, SGDSteps, Steps
from bn.parameter import Parameter

CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


class Rate(float):
    """A learning rate: a number, which can be set as a variable of Keras can.

    Attributes
    ----------
    optimizer : Optimizer
        Whose rate it is.

    Examples
    --------
    >>> optimizer = SGD(0.5)
    >>> optimizer.learning_rate.assign(0.25); optimizer.learning_rate
    0.25
    """

    optimizer: Optimizer

    def assign(self, value: Any) -> None:
        """Set the rate of the optimizer."""
        self.optimizer.learning_rate = value

    def numpy(self) -> np.float32:
        """The number."""
        return np.float32(self)


class Optimizer(Configured):
    """The base class: the rate, and what is done to gradients before a step.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    weight_decay : float, optional
        The part of each weight, times the rate, by which it becomes smaller in each step.
    clipnorm, clipvalue, global_clipnorm : float, optional
        The largest norm of each gradient, the largest size of a value, and the largest norm of all
        gradients together. One of them at most.
    name : str, optional
    **others
        Further arguments of Keras's optimizers, which must be at their defaults.

    Attributes
    ----------
    iterations : int
        The steps that were made.

    Examples
    --------
    >>> SGD(0.5).learning_rate, issubclass(SGD, Optimizer)
    (0.5, True)
    """

    config_names: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay", *CLIPPING, "name")
    keras_module = "keras.optimizers"
    never_called = ("build", "update_step", "apply", "apply_gradients")
    refused: ClassVar[Mapping[str, Any]] = {
        "use_ema": False, "ema_momentum": 0.99, "ema_overwrite_frequency": None,
        "loss_scale_factor": None, "gradient_accumulation_steps": None, "amsgrad": False,
    }  # fmt: skip
    steps: ClassVar[Callable[..., Steps]]
    signs: ClassVar[Mapping[str, int]] = {}  # of what it remembers with the other sign than Keras

    def __init__(
        self,
        learning_rate: Any,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
        **others: Any,
    ) -> None:
        _check.keras_arguments(type(self).__name__, others, self.refused)
        clipping = dict(zip(CLIPPING, (clipnorm, clipvalue, global_clipnorm), strict=True))
        _check.one_clipping(clipping)
        for each, value in {**clipping, "weight_decay": weight_decay}.items():
            if value is not None:
                _check.at_least(each, value, 0)
        self._rate = schedules.get(learning_rate)
        self.weight_decay, self.iterations = weight_decay, 0
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.name = snake_case(type(self).__name__) if name is None else name
        self._steps: Steps | None = None

    @property
    def learning_rate(self) -> Rate:
        """The rate of the next step. It can be set, also by its `assign`."""
        rate = self._rate(self.iterations) if callable(self._rate) else self._rate
        _check.keras_schedule(rate)
        found = Rate(rate)
        found.optimizer = self
        return found

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._rate = schedules.get(value)

    lr = learning_rate

    def clip(self, parameters: Sequence[Parameter]) -> None:
        """Make gradients smaller, as the arguments say."""
        grads = [p.grad for p in parameters if p.grad is not None]
        if self.clipvalue is not None:
            for grad in grads:
                np.clip(grad, -self.clipvalue, self.clipvalue, out=grad)
        if self.clipnorm is not None:
            for grad in grads:
                _shorten(grad, self.clipnorm, float(np.linalg.norm(grad)))
        if self.global_clipnorm is not None:
            norm = math.sqrt(sum(float(np.vdot(grad, grad)) for grad in grads))
            for grad in grads:
                _shorten(grad, self.global_clipnorm, norm)

    def bound_to(self, parameters: Sequence[Parameter]) -> Steps:
        """What makes the steps of these parameters; it remembers the steps before."""
        known = [] if self._steps is None else self._steps.params
        if self._steps is None or [*map(id, known)] != [*map(id, parameters)]:
            self._steps = type(self).steps(parameters, self)
        return self._steps

    @property
    def built(self) -> bool:
        """Whether it has made a step of some weights."""
        return self._steps is not None and self.iterations > 0

    def numbers(self) -> int:
        """How many numbers it has beside what it remembers of weights: its steps, and the rate."""
        return 1 if callable(self._rate) else 2

    def remembers(self) -> list[tuple[str, ...]]:
        """What it remembers of each weight, in Keras's order: those of a tuple weight by weight."""
        raise NotImplementedError(f"{type(self).__name__}.remembers")

    def slots(self) -> int:
        """How many arrays it remembers for each weight."""
        return sum(map(len, self.remembers()))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "learning_rate": plain(self._rate)}


def _shorten(grad: Any, largest: float, norm: float) -> None:
    if norm > largest:
        grad *= grad.dtype.type(largest / norm)


class SGD(Optimizer):
    r"""Stochastic gradient descent: :math:`v \leftarrow m v - lr\, g`, and :math:`p + v`.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    momentum : float
        m.
    nesterov : bool
        Whether the step is :math:`m v - lr\, g` with the new v.
    **options
        As in `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not.

    References
    ----------
    keras.optimizers.SGD.

    Examples
    --------
    >>> SGD(momentum=0.9).get_config()["learning_rate"]
    0.01
    """

    config_names: ClassVar[tuple[str, ...]] = (*Optimizer.config_names, "momentum", "nesterov")
    steps = SGDSteps
    signs: ClassVar[Mapping[str, int]] = {"velocity": -1}

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        _check.interval("momentum", momentum, 0, 1)
        _check.flag("nesterov", nesterov)
        self.momentum, self.nesterov = momentum, nesterov

    def remembers(self) -> list[tuple[str, ...]]:
        return [("velocity",)] if self.momentum != 0 else []


class Adam(Optimizer):
    r"""Adam: with :math:`m \leftarrow β_1 m + (1 - β_1) g` and
    :math:`v \leftarrow β_2 v + (1 - β_2) g^2`, the step number t is
    :math:`lr \sqrt{1 - β_2^t} / (1 - β_1^t) \cdot m / (\sqrt v + ε)`.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    beta_1, beta_2 : float
    epsilon : float
        ε, which Keras adds before the bias of the root is corrected.
    **options
        As in `Optimizer`. `amsgrad` must be False.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not.

    References
    ----------
    keras.optimizers.Adam; Kingma and Ba, "Adam", 2014.

    Examples
    --------
    >>> Adam().epsilon
    1e-07
    """

    config_names: ClassVar[tuple[str, ...]] = (
        *Optimizer.config_names,
        "beta_1",
        "beta_2",
        "epsilon",
    )
    steps = AdamSteps

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        _check.betas((beta_1, beta_2))
        _check.at_least("epsilon", epsilon, 0)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def remembers(self) -> list[tuple[str, ...]]:
        return [("exp_avg", "exp_avg_sq")]


class AdamW(Adam):
    """Adam with weight decay.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    weight_decay : float
    beta_1, beta_2, epsilon : float
        As in `Adam`.
    **options
        As in `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not.

    References
    ----------
    keras.optimizers.AdamW; Loshchilov and Hutter, "Decoupled weight decay regularization", 2017.

    Examples
    --------
    >>> AdamW().weight_decay
    0.004
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, weight_decay=weight_decay, **options
        )


class RMSprop(Optimizer):
    r"""RMSprop: with :math:`v \leftarrow ρ v + (1 - ρ) g^2` the step is
    :math:`lr\, g / \sqrt{v + ε}`, which the momentum accumulates.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    rho : float
        ρ.
    momentum : float
    epsilon : float
        ε, inside of the root.
    centered : bool
        Whether the square of the mean gradient is subtracted from v.
    **options
        As in `Optimizer`.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not.

    References
    ----------
    keras.optimizers.RMSprop.

    Examples
    --------
    >>> RMSprop().rho
    0.9
    """

    config_names: ClassVar[tuple[str, ...]] = (
        *Optimizer.config_names,
        "rho",
        "momentum",
        "epsilon",
        "centered",
    )
    steps = RMSpropSteps

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        _check.interval("rho", rho, 0, 1)
        _check.interval("momentum", momentum, 0, 1)
        _check.at_least("epsilon", epsilon, 0)
        _check.flag("centered", centered)
        self.rho, self.momentum = rho, momentum
        self.epsilon, self.centered = epsilon, centered

    def remembers(self) -> list[tuple[str, ...]]:
        momentum = [("momentum_buffer",)] if self.momentum > 0 else []
        return [("square_avg",), *momentum, *([("grad_avg",)] if self.centered else [])]


CLASSES = (SGD, Adam, AdamW, RMSprop)
NAMES: dict[str, Any] = {each.__name__: each for each in CLASSES}
NAMES |= {each.__name__.lower(): each for each in CLASSES}


def get(identifier: Any) -> Optimizer:
    """The optimizer that an argument of `compile` stands for.

    Parameters
    ----------
    identifier : str, dict or Optimizer

    Raises
    ------
    TypeError, ValueError
        It stands for none.

    Examples
    --------
    >>> type(get("adam")).__name__
    'Adam'
    """
    found = named("optimizer", identifier, NAMES)
    _check.keras_kind("an optimizer", found, Optimizer, "a name or of bn.keras.optimizers")
    return found  # type: ignore[no-any-return]


if not TYPE_CHECKING:  # type checkers would believe that there is every name

    def __getattr__(name: str) -> NoReturn:
        raise _check.no_name_in_keras("bn.keras", "optimizer", name, [c.__name__ for c in CLASSES])
