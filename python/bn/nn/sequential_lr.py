"""`SequentialLR`: schedules one after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from bn import _check
from bn.nn.optimizer import Optimizer
from bn.nn.schedules import Schedule


class SequentialLR(Schedule):
    """Schedules one after the other, each counting from its own first epoch.

    Parameters
    ----------
    optimizer : Optimizer
        That of all schedules; its rate becomes that of the first schedule.
    schedulers : sequence of Schedule
    milestones : sequence of int
        The epochs in which the second schedule begins, the third one, and so on.

    Raises
    ------
    ValueError
        There are no schedules, one of them has another optimizer, or `milestones` are not positive
        integers that rise, one fewer than there are schedules.
    TypeError
        `schedulers` holds something else, `ReduceLROnPlateau` for instance.

    See Also
    --------
    LinearLR : For a warm-up.

    References
    ----------
    torch.optim.lr_scheduler.SequentialLR.

    Examples
    --------
    A warm-up of two epochs, then half a cosine wave:

    >>> import numpy as np
    >>> from bn import nn
    >>> optimizer = nn.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    >>> warm_up = nn.LinearLR(optimizer, start_factor=0.25, total_iters=2)
    >>> cosine = nn.CosineAnnealingLR(optimizer, T_max=2)
    >>> schedule = SequentialLR(optimizer, [warm_up, cosine], milestones=[2])
    >>> [round(schedule.lr_at(epoch), 6) for epoch in range(5)]
    [0.25, 0.625, 1.0, 0.5, 0.0]
    """

    option_names = ("schedulers", "milestones")

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[Schedule], milestones: Sequence[int]
    ) -> None:
        _check.instance("optimizer", optimizer, Optimizer)
        _check.several("schedulers", schedulers)
        _check.several("milestones", milestones)
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        _check.schedules(self.schedulers, Schedule, optimizer)
        _check.milestones(self.milestones, len(self.schedulers))
        super().__init__(optimizer)
        self.go_to(0)

    def _place(self, epoch: int) -> tuple[Schedule, int]:
        """The schedule of an epoch, and the number of the epoch in it."""
        number = bisect_right(self.milestones, epoch)
        return self.schedulers[number], epoch - (self.milestones[number - 1] if number else 0)

    def lr_at(self, epoch: int) -> float:
        schedule, own = self._place(epoch)
        return schedule.lr_of(self._group, own)

    def go_to(self, epoch: int) -> None:
        schedule, own = self._place(epoch)
        schedule.go_to(own)
        self.last_epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """The number of epochs so far, and the states of all schedules."""
        states = [schedule.state_dict() for schedule in self.schedulers]
        return {**super().state_dict(), "schedulers": states}

    def checked(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        _check.instance("state", state, Mapping)
        inner = _check.inner_states(state, len(self.schedulers))
        own = super().checked({k: v for k, v in state.items() if k != "schedulers"})
        pairs = zip(self.schedulers, inner, strict=True)
        return {**own, "schedulers": [schedule.checked(each) for schedule, each in pairs]}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        for schedule, each in zip(self.schedulers, state["schedulers"], strict=True):
            schedule.restore(each)
