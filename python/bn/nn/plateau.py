"""`ReduceLROnPlateau`: the rate falls when a measure no longer improves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bn import _check
from bn.nn.optimizer import Optimizer
from bn.nn.schedules import RateControl


class ReduceLROnPlateau(RateControl):
    """Multiplies the rate by `factor` when a measure has not improved for `patience` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether a measure improves when it falls, as a loss, or when it rises, as an accuracy.
    factor : float
        At least 0 and less than 1.
    patience : int
        So many epochs in a row may be no better than the best one. After one more the rate falls.
    threshold : float
        How much better than the best one an epoch must be.
    threshold_mode : {"rel", "abs"}
        Whether `threshold` is a part of the best measure or a difference.
    cooldown : int
        Epochs after a reduction that do not count.
    min_lr : float or sequence of float
        Below this, or that of each group, the rate does not fall.
    eps : float
        A change of the rate of at most this is not made.

    Raises
    ------
    ValueError
        A number is out of range, or a mode is another word. On a `step`: the measure is no number.

    Notes
    -----
    A measure of NaN is no improvement.

    References
    ----------
    torch.optim.lr_scheduler.ReduceLROnPlateau.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> optimizer = nn.SGD([nn.Parameter(np.ones(1))], lr=1.0)
    >>> schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.5, 2.1):
    ...     schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.5]
    """

    option_names = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown")

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(optimizer)
        _check.one_of("mode", mode, ("min", "max"))
        _check.share_below_one("factor", factor)
        _check.whole_count("patience", patience)
        _check.at_least("threshold", threshold, 0)
        _check.one_of("threshold_mode", threshold_mode, ("rel", "abs"))
        _check.whole_count("cooldown", cooldown)
        _check.at_least("eps", eps, 0)
        self.min_lrs = _check.per_group("min_lr", min_lr, len(optimizer.param_groups))
        self.mode, self.factor, self.patience, self.eps = mode, factor, patience, eps
        self.threshold, self.threshold_mode, self.cooldown = threshold, threshold_mode, cooldown
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0

    def step(self, metrics: float) -> None:
        """Count an epoch, and lower the learning rates if it is time to.

        Parameters
        ----------
        metrics : float
            The measure of the epoch, for instance a validation loss.
        """
        _check.measure(metrics)
        self.last_epoch += 1
        if self._is_better(float(metrics)):
            self.best, self.num_bad_epochs = float(metrics), 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _is_better(self, value: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "abs":
            return sign * value < sign * self.best - self.threshold
        return sign * value < sign * self.best * (1 - sign * self.threshold)

    def _reduce(self) -> None:
        for group, lowest in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            rate = max(group["lr"] * self.factor, lowest)
            if group["lr"] - rate > self.eps:
                group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """The learning rates, the best measure, and the counts of epochs."""
        return {
            "lrs": self.get_last_lr(),
            "best": self.best,
            "num_bad_epochs": self.num_bad_epochs,
            "cooldown_counter": self.cooldown_counter,
            "last_epoch": self.last_epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned, and set the optimizer's learning rates.

        Raises
        ------
        ValueError
            The state has other keys, or a number is out of range; nothing is changed.
        """
        _check.plateau_state(state, len(self.optimizer.param_groups))
        for group, rate in zip(self.optimizer.param_groups, state["lrs"], strict=True):
            group["lr"] = float(rate)
        self.best, self.last_epoch = float(state["best"]), int(state["last_epoch"])
        self.num_bad_epochs = int(state["num_bad_epochs"])
        self.cooldown_counter = int(state["cooldown_counter"])
