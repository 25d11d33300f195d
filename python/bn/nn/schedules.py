"""Learning rate schedules; their `step` is called once after each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bn import _check
from bn.nn.optim import Optimizer


class Schedule:
    """The base class of schedules: an optimizer, its initial learning rate, a count of epochs.

    A schedule defines `lr_at`.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        _check.instance("optimizer", optimizer, Optimizer)
        self.optimizer = optimizer
        self.base_lr = optimizer.lr
        self.last_epoch = 0

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__}.lr_at")

    def step(self) -> None:
        """Count an epoch, and set the optimizer's learning rate for the next one."""
        self.last_epoch += 1
        self.optimizer.lr = self.lr_at(self.last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """The initial learning rate and the number of epochs so far."""
        return {"base_lr": self.base_lr, "last_epoch": self.last_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned, and set the optimizer's learning rate.

        Raises
        ------
        ValueError
            The state has other keys, or a number is out of range; nothing is changed.
        """
        _check.schedule_state(state)
        self.base_lr, self.last_epoch = float(state["base_lr"]), int(state["last_epoch"])
        self.optimizer.lr = self.lr_at(self.last_epoch)


class StepLR(Schedule):
    r"""Multiplies the rate by `gamma` every `step_size` epochs: :math:`lr\,γ^{⌊t/s⌋}`.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
        The number of epochs between two changes.
    gamma : float

    Raises
    ------
    ValueError
        `step_size` is not a positive integer, or `gamma` is negative.

    References
    ----------
    torch.optim.lr_scheduler.StepLR.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> optimizer = nn.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    >>> schedule = StepLR(optimizer, step_size=2, gamma=0.5)
    >>> [schedule.lr_at(epoch) for epoch in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        super().__init__(optimizer)
        _check.positive_int("step_size", step_size)
        _check.at_least("gamma", gamma, 0)
        self.step_size, self.gamma = step_size, gamma

    def lr_at(self, epoch: int) -> float:
        return self.base_lr * self.gamma ** (epoch // self.step_size)


class CosineAnnealingLR(Schedule):
    r"""Lowers the rate from its initial value to `eta_min` along half a cosine wave.

    .. math:: η_t = η_{min} + \tfrac12 (lr - η_{min}) (1 + \cos(π t / T_{max}))

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        The epoch with the rate `eta_min`. In later epochs the rate rises again, as in PyTorch.
    eta_min : float
        The lowest rate.

    Raises
    ------
    ValueError
        `T_max` is not a positive integer, or `eta_min` is negative.

    References
    ----------
    Loshchilov and Hutter, "SGDR", 2016; torch.optim.lr_scheduler.CosineAnnealingLR.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> optimizer = nn.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    >>> schedule = CosineAnnealingLR(optimizer, T_max=2)
    >>> [round(schedule.lr_at(epoch), 6) for epoch in range(3)]
    [1.0, 0.5, 0.0]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        super().__init__(optimizer)
        _check.positive_int("T_max", T_max)
        _check.at_least("eta_min", eta_min, 0)
        self.T_max, self.eta_min = T_max, eta_min

    def lr_at(self, epoch: int) -> float:
        wave = (1 + math.cos(math.pi * epoch / self.T_max)) / 2
        return self.eta_min + (self.base_lr - self.eta_min) * wave
