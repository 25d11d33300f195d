"""Learning rate schedules; their `step` is called once after each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from bn import _check
from bn.nn.optimizer import Optimizer


class RateControl:
    """What sets the learning rates of an optimizer's groups.

    Its state is what `option_names` does not name: they are arguments of the constructor.
    """

    option_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, optimizer: Optimizer) -> None:
        _check.instance("optimizer", optimizer, Optimizer)
        self.optimizer = optimizer
        self.last_epoch = 0

    def get_last_lr(self) -> list[float]:
        """The learning rates of the optimizer's groups as they are now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def __repr__(self) -> str:
        options = [f"{name}={getattr(self, name)!r}" for name in self.option_names]
        rates = ", ".join(f"{rate:.6g}" for rate in self.get_last_lr())
        options += [f"last_epoch={self.last_epoch}", f"lr={rates}"]
        return f"{type(self).__name__}({', '.join(options)})"


class Schedule(RateControl):
    """The base class of schedules: an optimizer, its initial learning rates, a count of epochs.

    A schedule defines `lr_at`, whose `base_lr` is the initial learning rate of the group in
    question. As in PyTorch the first schedule of an optimizer decides what that is: it notes the
    rate as the group's ``"initial_lr"``, from which later schedules begin, too.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self._group = 0

    @property
    def base_lr(self) -> float:
        """The initial learning rate of the group whose rate is computed, else of the first one."""
        return self.base_lrs[self._group]

    def lr_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__}.lr_at")

    def step(self) -> None:
        """Count an epoch, and set the optimizer's learning rates for the next one."""
        self.go_to(self.last_epoch + 1)

    def go_to(self, epoch: int) -> None:
        """Set the optimizer's learning rates to those of an epoch."""
        groups = self.optimizer.param_groups
        _check.rates_of_groups(len(self.base_lrs), len(groups))
        rates = [self.lr_of(number, epoch) for number in range(len(groups))]
        self.last_epoch = epoch
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate

    def lr_of(self, group: int, epoch: int) -> float:
        """The learning rate of a group in an epoch."""
        self._group = group
        try:
            return self.lr_at(epoch)
        finally:
            self._group = 0

    def state_dict(self) -> dict[str, Any]:
        """The initial learning rates and the number of epochs so far."""
        return {"base_lrs": list(self.base_lrs), "last_epoch": self.last_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned, and set the optimizer's learning rates.

        Raises
        ------
        ValueError
            The state has other keys, or a number is out of range; nothing is changed.
        """
        self.restore(self.checked(state))
        self.go_to(self.last_epoch)

    def checked(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """A state that was checked, in its present form."""
        _check.instance("state", state, Mapping)
        if set(state) == {"base_lr", "last_epoch"}:  # as schedules of one group saved it
            state = {"base_lrs": [state["base_lr"]], "last_epoch": state["last_epoch"]}
        _check.schedule_state(state, len(self.base_lrs))
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a state that was checked, without setting learning rates."""
        self.base_lrs = [float(rate) for rate in state["base_lrs"]]
        self.last_epoch = int(state["last_epoch"])


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
    >>> schedule.step(); schedule
    StepLR(step_size=2, gamma=0.5, last_epoch=1, lr=1)
    """

    option_names = ("step_size", "gamma")

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

    option_names = ("T_max", "eta_min")

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        super().__init__(optimizer)
        _check.positive_int("T_max", T_max)
        _check.at_least("eta_min", eta_min, 0)
        self.T_max, self.eta_min = T_max, eta_min

    def lr_at(self, epoch: int) -> float:
        wave = (1 + math.cos(math.pi * epoch / self.T_max)) / 2
        return self.eta_min + (self.base_lr - self.eta_min) * wave


class LinearLR(Schedule):
    r"""Multiplies the rate by a factor that changes in a line, for instance for a warm-up.

    The factor of epoch t is :math:`f_0 + (f_1 - f_0) \min(t, n) / n` with n the `total_iters`,
    f₀ the `start_factor` and f₁ the `end_factor`.

    Parameters
    ----------
    optimizer : Optimizer
        Its rate becomes that of epoch 0.
    start_factor : float
        f₀, above 0 and at most 1.
    end_factor : float
        f₁, at least 0 and at most 1.
    total_iters : int
        The epoch with the factor f₁, which stays.

    Raises
    ------
    ValueError
        `total_iters` is not a positive integer, or a factor is out of range.

    See Also
    --------
    SequentialLR : A warm-up, then another schedule.

    References
    ----------
    torch.optim.lr_scheduler.LinearLR.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> optimizer = nn.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    >>> schedule = LinearLR(optimizer, start_factor=0.25, total_iters=3)
    >>> optimizer.lr, [schedule.lr_at(epoch) for epoch in range(5)]
    (0.25, [0.25, 0.5, 0.75, 1.0, 1.0])
    """

    option_names = ("start_factor", "end_factor", "total_iters")

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        _check.positive_share("start_factor", start_factor)
        _check.interval("end_factor", end_factor, 0, 1)
        _check.positive_int("total_iters", total_iters)
        super().__init__(optimizer)
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        self.go_to(0)

    def lr_at(self, epoch: int) -> float:
        part = min(epoch, self.total_iters) / self.total_iters
        return self.base_lr * (self.start_factor + (self.end_factor - self.start_factor) * part)
