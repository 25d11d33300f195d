"""`OneCycleLR`: the rate rises and falls once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from bn import _check
from bn.nn.optimizer import Optimizer
from bn.nn.schedules import Schedule

STRATEGIES = ("cos", "linear")


class Phase(NamedTuple):
    """A part of the cycle: its last step, and the names of the rates it goes from and to."""

    end: float
    lr: tuple[str, str]
    rises: bool  # the rate does; the momentum does the opposite


class OneCycleLR(Schedule):
    """Raises the rate to `max_lr` and lowers it again; the momentum moves the other way.

    `step` is called after each batch.

    Parameters
    ----------
    optimizer : Optimizer
        Its rate, and its momentum, become those of the first step.
    max_lr : float or sequence of float
        The highest rate, or that of each group.
    total_steps : int or None
        The number of batches; None if `epochs` and `steps_per_epoch` are given.
    epochs, steps_per_epoch : int or None
        Their product is the number of batches.
    pct_start : float
        The part of the steps, from 0 to 1, in which the rate rises.
    anneal_strategy : {"cos", "linear"}
        Whether the rate moves along half a cosine wave or a line.
    cycle_momentum : bool
        Whether the momentum, or the first of `betas`, changes as well. An `SGD` that was made
        without momentum then gets one, as in PyTorch.
    base_momentum, max_momentum : float
        Its lowest and its highest value.
    div_factor : float
        The first rate is ``max_lr / div_factor``.
    final_div_factor : float
        The last rate is the first one divided by this.
    three_phase : bool
        Whether the rate falls as long as it rose, and then to its last value.

    Raises
    ------
    ValueError
        A number is out of range, there is neither `total_steps` nor the other two, or
        `cycle_momentum` is true and the optimizer has neither an option `momentum` nor `betas`. On
        a `step`: the cycle has ended.
    TypeError
        `cycle_momentum` or `three_phase` is not a bool.

    References
    ----------
    Smith and Topin, "Super-convergence", 2018; torch.optim.lr_scheduler.OneCycleLR.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> optimizer = nn.SGD([nn.Parameter(np.ones(1))], lr=0.1, momentum=0.9)
    >>> schedule = OneCycleLR(optimizer, max_lr=1.0, total_steps=5, pct_start=0.6)
    >>> [round(schedule.lr_at(step), 4) for step in range(5)], optimizer.momentum
    ([0.04, 0.52, 1.0, 0.5, 0.0], 0.95)
    """

    option_names = ("max_lr", "total_steps", "pct_start", "anneal_strategy", "three_phase")

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        _check.instance("optimizer", optimizer, Optimizer)
        self.max_lrs = _check.per_group("max_lr", max_lr, len(optimizer.param_groups))
        self.total_steps = _check.total_steps(total_steps, epochs, steps_per_epoch)
        _check.interval("pct_start", pct_start, 0, 1)
        _check.one_of("anneal_strategy", anneal_strategy, STRATEGIES)
        _check.interval("base_momentum", base_momentum, 0, 1)
        _check.interval("max_momentum", max_momentum, 0, 1)
        _check.above("div_factor", div_factor, 0)
        _check.above("final_div_factor", final_div_factor, 0)
        _check.flag("cycle_momentum", cycle_momentum)
        _check.flag("three_phase", three_phase)
        if cycle_momentum:
            _check.has_momentum(optimizer.param_groups[0])
        self.max_lr, self.pct_start, self.anneal_strategy = max_lr, pct_start, anneal_strategy
        self.cycle_momentum, self.three_phase = cycle_momentum, three_phase
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        for group, highest in zip(optimizer.param_groups, self.max_lrs, strict=True):
            group["initial_lr"] = highest / div_factor
        super().__init__(optimizer)
        self.go_to(0)

    def _phases(self) -> list[Phase]:
        rise, last = self.pct_start * self.total_steps, self.total_steps - 1
        if not self.three_phase:
            return [Phase(rise - 1, ("base", "max"), True), Phase(last, ("max", "min"), False)]
        return [
            Phase(rise - 1, ("base", "max"), True),
            Phase(2 * rise - 2, ("max", "base"), False),
            Phase(last, ("base", "min"), False),
        ]

    def _place(self, step: int) -> tuple[Phase, float]:
        """The phase of a step, and the part of the phase that is over."""
        begin, phases = 0.0, self._phases()
        for phase in phases:
            if step <= phase.end or phase is phases[-1]:
                break
            begin = phase.end
        length = phase.end - begin
        return phase, (step - begin) / length if length else 1.0

    def _between(self, begin: float, end: float, part: float) -> float:
        if self.anneal_strategy == "linear":
            return begin + (end - begin) * part
        return end + (begin - end) / 2 * (1 + math.cos(math.pi * part))

    def lr_at(self, epoch: int) -> float:
        _check.within_cycle(epoch, self.total_steps)
        rates = {
            "base": self.base_lr,
            "max": self.max_lrs[self._group],
            "min": self.base_lr / self.final_div_factor,
        }
        phase, part = self._place(epoch)
        return self._between(rates[phase.lr[0]], rates[phase.lr[1]], part)

    def momentum_at(self, step: int) -> float:
        """The momentum of a step, counted from 0."""
        phase, part = self._place(step)
        low, high = self.base_momentum, self.max_momentum
        if phase.rises:
            return self._between(high, low, part)
        last_of_three = phase.lr == ("base", "min")
        return high if last_of_three else self._between(low, high, part)

    def go_to(self, epoch: int) -> None:
        super().go_to(epoch)
        if not self.cycle_momentum:
            return
        momentum = self.momentum_at(epoch)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum
