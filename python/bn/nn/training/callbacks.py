"""`Callback`: what is done during a training; and the three that come with `bn`."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bn import _check
from bn.module import Module
from bn.nn.checkpoint import save
from bn.nn.optimizer import Optimizer
from bn.nn.training.history import History
from bn.nn.training.metrics import Totals
from bn.types import Array

MODES = ("min", "max")


@dataclass
class TrainingState:
    """How far a training is, for callbacks.

    Attributes
    ----------
    model : Module
    optimizer : Optimizer
    schedule : Schedule or None
    epoch : int
        The number of this epoch, from 1.
    batch : int
        The batches of this epoch that were trained on.
    step : int
        The steps of the optimizer since the beginning.
    loss : float
        Of the last step.
    totals : Totals
        Of the loss and the metrics over the batches of this epoch; its `means` are those so far.
    logs : dict
        At the end of an epoch, its row of the history.
    history : History
        Of all epochs that have ended, this one included.
    stop : bool
        Set it to True to end the training after this batch or epoch.

    Examples
    --------
    >>> class StopAfter(Callback):
    ...     def on_batch_end(self, state):
    ...         state.stop = state.step >= 100
    """

    model: Module
    optimizer: Optimizer
    schedule: Any = None
    epoch: int = 1
    batch: int = 0
    step: int = 0
    loss: float = math.nan
    totals: Totals = field(default_factory=lambda: Totals(()))
    logs: dict[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=History)
    stop: bool = False


class Callback:
    """What is done after each batch, each epoch and at the end of `bn.nn.fit`; by itself, nothing.

    A callback that counts, or remembers a best value, returns that from `state_dict`, so that a
    resumed training has it too.

    Examples
    --------
    >>> class Losses(Callback):
    ...     def __init__(self):
    ...         self.losses = []
    ...     def on_batch_end(self, state):
    ...         self.losses.append(state.loss)
    """

    monitor: str | None = None  # the column of the history that it needs
    writes: bool = False  # whether only rank 0 of several calls it, because it writes a file

    def on_batch_end(self, state: TrainingState) -> None:
        """Called after each batch, or with `accumulate` after the batches of each step."""

    def on_epoch_end(self, state: TrainingState) -> None:
        """Called after each epoch and its validation."""

    def on_train_end(self, state: TrainingState) -> None:
        """Called once, when the training has ended: after its last epoch, or by `state.stop`.

        It comes after the last save. So what it does to the model is not in the file of a
        checkpoint, and a training that is resumed does it again at its own end.
        """

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs: numbers, texts, lists, dicts and arrays."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""


class Monitoring(Callback):
    """What callbacks share that wait for the best value of a column.

    Parameters
    ----------
    monitor : str
    mode : {"min", "max"} or None
    min_delta : float
    """

    def __init__(self, monitor: str, mode: str | None, min_delta: float) -> None:
        _check.text("monitor", monitor)
        if mode is None:
            mode = "max" if monitor.endswith("accuracy") else "min"
        _check.one_of("mode", mode, MODES)
        _check.at_least("min_delta", min_delta, 0)
        self.monitor: str = monitor
        self.mode, self.min_delta = mode, min_delta
        self.best: float | None = None

    def improves(self, state: TrainingState) -> bool:
        """Whether an epoch is better than all before it, which it then becomes the best of."""
        _check.monitored(type(self).__name__, self.monitor, state.logs)
        value = float(state.logs[self.monitor])
        sign = 1 if self.mode == "max" else -1
        better = self.best is None or sign * (value - self.best) > self.min_delta
        if better and math.isfinite(value):
            self.best = value
            return True
        return False

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best = state["best"]


class EarlyStopping(Monitoring):
    """Ends a training when a value has not become better for some epochs.

    Parameters
    ----------
    monitor : str
        The column of the history.
    patience : int
        How many epochs in a row may be no better than the best before.
    min_delta : float
        By how much a value must differ from the best one to be better.
    mode : {"min", "max"} or None
        Which values are better; None is ``"max"`` for an accuracy and ``"min"`` otherwise.
    restore_best_weights : bool
        Whether the model has the parameters and the buffers of its best epoch when the training has
        ended, early or after its last epoch. A copy of them is kept meanwhile. The file of a
        checkpoint has both them and those of the last epoch.

    Raises
    ------
    TypeError, ValueError
        An option is not as above. During the training: there is no such column.

    See Also
    --------
    BestCheckpoint : Saves the model of the best epoch to a file.

    References
    ----------
    keras.callbacks.EarlyStopping.

    Examples
    --------
    >>> EarlyStopping("val_accuracy", patience=3).mode
    'max'
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        *,
        min_delta: float = 0.0,
        mode: str | None = None,
        restore_best_weights: bool = False,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        _check.positive_int("patience", patience)
        _check.flag("restore_best_weights", restore_best_weights)
        self.patience, self.restore_best_weights = patience, restore_best_weights
        self.waited = 0  # epochs since the best one
        self.best_weights: dict[str, Array] | None = None

    def on_epoch_end(self, state: TrainingState) -> None:
        better = self.improves(state)
        self.waited = 0 if better else self.waited + 1
        if better and self.restore_best_weights:
            self.best_weights = state.model.state_dict()
        if self.waited >= self.patience:
            state.stop = True

    def on_train_end(self, state: TrainingState) -> None:
        if self.best_weights is not None:
            state.model.load_state_dict(self.best_weights)
            self.best_weights = None  # they are of no use to another training

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "waited": self.waited, "best_weights": self.best_weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        _check.kept_best_weights(self.restore_best_weights, state)
        super().load_state_dict(state)
        self.waited, self.best_weights = int(state["waited"]), state["best_weights"]


class BestCheckpoint(Monitoring):
    """Saves the model by `bn.nn.save` after each epoch that is better than all before.

    Parameters
    ----------
    path : path-like
        The file. Its metadata are the epoch's row of the history.
    monitor : str
        The column of the history.
    min_delta : float
        By how much a value must differ from the best one to be better.
    mode : {"min", "max"} or None
        Which values are better; None is ``"max"`` for an accuracy and ``"min"`` otherwise.

    Raises
    ------
    TypeError, ValueError
        An option is not as above. During the training: there is no such column.
    FileNotFoundError
        There is no folder for the file.
    OSError
        During the training: the file cannot be written; what was there before stays.

    References
    ----------
    keras.callbacks.ModelCheckpoint.

    Examples
    --------
    >>> BestCheckpoint("best.npz", "loss").mode
    'min'
    """

    writes = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "val_loss",
        *,
        min_delta: float = 0.0,
        mode: str | None = None,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.path = os.fspath(path)
        _check.folder_exists("path", self.path)

    def on_epoch_end(self, state: TrainingState) -> None:
        if self.improves(state):
            save(self.path, state.model, state.logs)


class CSVLogger(Callback):
    """Writes the history to a .csv file after each epoch.

    The file is replaced as a whole each time, so that it never has half a row, and a resumed
    training leaves no row twice.

    Parameters
    ----------
    path : path-like
        It must end in ``.csv``.

    Raises
    ------
    ValueError
        `path` has another ending.
    FileNotFoundError
        There is no folder for the file.
    OSError
        During the training: the file cannot be written; what was there before stays.

    References
    ----------
    keras.callbacks.CSVLogger.

    Examples
    --------
    >>> CSVLogger("history.csv").path
    'history.csv'
    """

    writes = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        _check.csv_file(self.path)
        _check.folder_exists("path", self.path)

    def on_epoch_end(self, state: TrainingState) -> None:
        state.history.save(self.path)
