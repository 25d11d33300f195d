"""Keras's callbacks."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bn import _check
from bn.types import Array

if TYPE_CHECKING:
    from bn.keras.training import Trainer

Logs = dict[str, Any]


class Callback:
    """What is done during `fit`, `evaluate` and `predict`; by itself, nothing.

    Attributes
    ----------
    model : Model
        The one that is trained.
    params : dict
        ``"epochs"``, ``"steps"`` and ``"verbose"``.

    Examples
    --------
    >>> class Losses(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(epoch, logs["loss"])
    """

    model: Trainer
    params: dict[str, Any]

    def set_model(self, model: Trainer) -> None:
        """Get the model."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Get the settings of the training."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once, before the training."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once, after the training."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before each epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after each epoch and its validation; `logs` is its row of the history."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch, counted from 0 in each epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch; `logs` has the means of the epoch so far."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called before each `evaluate`, and before each validation of `fit`."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called after it; `logs` has the loss and the metrics."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of it, counted from 0."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of it; `logs` has the means so far."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called before each `predict`."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called after each `predict`."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of `predict`, counted from 0."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of `predict`; `logs` has its ``"outputs"``."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_end`."""


class History(Callback):
    """What `fit` returns: what was measured in each epoch.

    Attributes
    ----------
    history : dict of str to list
        For each name, such as ``"loss"`` and ``"val_loss"``, the values of all epochs.
    epoch : list of int
        The epochs, counted from 0.

    Examples
    --------
    >>> record = History()
    >>> record.on_epoch_end(0, {"loss": 0.5}); record.history
    {'loss': [0.5]}
    """

    def __init__(self) -> None:
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class Monitor(Callback):
    """What callbacks share that wait for a better value.

    Parameters
    ----------
    monitor : str
        The name in the history.
    mode : {"auto", "min", "max"}
        Which values are better. "auto" is "max" for accuracies, precision and recall, else "min".
    min_delta : float
        By how much a value must be better.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        _check.text("monitor", monitor)
        _check.one_of("mode", mode, ("auto", "min", "max"))
        self.monitor, self.mode, self.min_delta = monitor, mode, abs(min_delta)
        words = ("acc", "accuracy", "precision", "recall")
        self.larger = mode == "max" or (mode == "auto" and monitor.endswith(words))
        self.best: float | None = None

    def better(self, value: float, than: float | None) -> bool:
        """Whether a value is better than another; any is better than none."""
        if than is None:
            return True
        return value - self.min_delta > than if self.larger else value + self.min_delta < than

    def value(self, logs: Logs | None) -> float:
        """The value of an epoch."""
        _check.monitored(type(self).__name__, self.monitor, logs or {})
        return float((logs or {})[self.monitor])


class EarlyStopping(Monitor):
    """Ends the training when a value has not become better for some epochs.

    Parameters
    ----------
    monitor : str
    min_delta : float
        By how much a value must be better than the best one.
    patience : int
        How many epochs may be no better; with 0, the first that is not ends the training.
    verbose : int
    mode : {"auto", "min", "max"}
    baseline : float, optional
        The waiting ends only with a value that is better than this.
    restore_best_weights : bool
        Whether the model has the weights of the best epoch afterwards.
    start_from_epoch : int
        Epochs before this one do not count.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range. During the training: there is no such value.

    References
    ----------
    keras.callbacks.EarlyStopping.

    Examples
    --------
    >>> EarlyStopping("val_accuracy", patience=3).larger
    True
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        _check.at_least("patience", patience, 0)
        _check.flag("restore_best_weights", restore_best_weights)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self.best_weights: list[Array] = []
        self._begin()

    def _begin(self) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best, self.best_weights = None, []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._begin()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        value = self.value(logs)
        if epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self.better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch, self.model.stop_training = epoch, True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights:
            self.model.set_weights(self.best_weights)


class ModelCheckpoint(Monitor):
    """Saves the model, or its weights, after each epoch or after the better ones.

    Parameters
    ----------
    filepath : path-like
        Ends in ``.keras``, or with `save_weights_only` in ``.weights.h5``. It may have fields such
        as ``{epoch:02d}`` and ``{val_loss:.2f}``.
    monitor : str
    verbose : int
    save_best_only : bool
    save_weights_only : bool
    mode : {"auto", "min", "max"}
    save_freq : {"epoch"}
    initial_value_threshold : float, optional
        The value that the first saved one must be better than.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range. During the training: there is no such value.

    References
    ----------
    keras.callbacks.ModelCheckpoint.

    Examples
    --------
    >>> ModelCheckpoint("best.keras", save_best_only=True).monitor
    'val_loss'
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, 0)
        _check.one_of("save_freq", save_freq, ("epoch",))
        _check.flag("save_best_only", save_best_only)
        _check.flag("save_weights_only", save_weights_only)
        self.filepath = os.fspath(filepath)
        _check.keras_ending(self.filepath, ".weights.h5" if save_weights_only else ".keras")
        self.verbose, self.save_best_only = verbose, save_best_only
        self.save_weights_only, self.best = save_weights_only, initial_value_threshold

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_best_only:
            value = self.value(logs)
            if not self.better(value, self.best):
                return
            self.best = value
        path = self.filepath.format(epoch=epoch + 1, **(logs or {}))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save = self.model.save_weights if self.save_weights_only else self.model.save
        save(path, overwrite=True)
        if self.verbose:
            print(f"Epoch {epoch + 1}: saved model to {path}")


class ReduceLROnPlateau(Monitor):
    """Makes the learning rate smaller when a value has not become better for some epochs.

    Parameters
    ----------
    monitor : str
    factor : float
        What the rate is multiplied with, below 1.
    patience : int
        How many epochs may be no better.
    verbose : int
    mode : {"auto", "min", "max"}
    min_delta : float
        By how much a value must be better than the best one.
    cooldown : int
        How many epochs do not count after the rate became smaller.
    min_lr : float
        The smallest rate.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range. During the training: there is no such value.

    References
    ----------
    keras.callbacks.ReduceLROnPlateau.

    Examples
    --------
    >>> ReduceLROnPlateau(factor=0.2).patience
    10
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        _check.keras_unit_interval("factor", factor)
        _check.at_least("min_lr", min_lr, 0)
        self.factor, self.patience, self.verbose = factor, patience, verbose
        self.cooldown, self.min_lr = cooldown, min_lr
        self.wait = self.cooldown_counter = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.best, self.wait, self.cooldown_counter = None, 0, 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = {} if logs is None else logs
        rate = float(self.model.optimizer.learning_rate)
        logs["learning_rate"] = rate
        value = self.value(logs)
        if self.cooldown_counter:
            self.cooldown_counter, self.wait = self.cooldown_counter - 1, 0
        if self.better(value, self.best):
            self.best, self.wait = value, 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                self.model.optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                self.cooldown_counter, self.wait = self.cooldown, 0
                if self.verbose:
                    print(f"Epoch {epoch + 1}: learning rate {rate * self.factor:g}")


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch.

    Parameters
    ----------
    schedule : callable
        ``schedule(epoch, rate)`` returns the rate.
    verbose : int

    Raises
    ------
    TypeError
        `schedule` is no function.

    References
    ----------
    keras.callbacks.LearningRateScheduler.

    Examples
    --------
    >>> LearningRateScheduler(lambda epoch, rate: rate * 0.9).verbose
    0
    """

    def __init__(self, schedule: Callable[[int, float], float], verbose: int = 0) -> None:
        _check.function("schedule", schedule)
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        optimizer.learning_rate = float(self.schedule(epoch, float(optimizer.learning_rate)))
        if self.verbose:
            print(f"Epoch {epoch + 1}: learning rate {optimizer.learning_rate:g}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


class CSVLogger(Callback):
    """Writes a row for each epoch to a .csv file.

    Parameters
    ----------
    filename : path-like
    separator : str
    append : bool
        Whether rows are added to a file that exists.

    References
    ----------
    keras.callbacks.CSVLogger.

    Examples
    --------
    >>> CSVLogger("training.csv").separator
    ','
    """

    def __init__(
        self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False
    ) -> None:
        _check.flag("append", append)
        self.filename, self.separator, self.append = os.fspath(filename), separator, append
        self.names: list[str] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.names = []
        path = Path(self.filename)
        self.has_head = self.append and path.exists() and path.stat().st_size > 0
        if not self.append:
            path.write_text("")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = logs or {}
        self.names = self.names or ["epoch", *sorted(logs)]
        with Path(self.filename).open("a", newline="") as file:
            writer = csv.writer(file, delimiter=self.separator)
            if not self.has_head:
                writer.writerow(self.names)
                self.has_head = True
            writer.writerow([epoch, *(logs.get(name, "NA") for name in self.names[1:])])


class LambdaCallback(Callback):
    """Calls functions at moments of the training.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end : callable, optional
        Called with the epoch and the logs.
    on_train_begin, on_train_end : callable, optional
        Called with the logs.
    on_train_batch_begin, on_train_batch_end : callable, optional
        Called with the batch and the logs.

    References
    ----------
    keras.callbacks.LambdaCallback.

    Examples
    --------
    >>> LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch)).on_epoch_end(3, {})
    3
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
    ) -> None:
        given: Mapping[str, Callable[..., Any] | None] = {
            "on_epoch_begin": on_epoch_begin, "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin, "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }  # fmt: skip
        for name, function in given.items():
            if function is not None:
                _check.function(name, function)
                setattr(self, name, function)


class ProgressLine(Callback):
    """Prints a line for each epoch, as Keras does with ``verbose=2``.

    Examples
    --------
    >>> line_of(100, 1.5, {"accuracy": 0.5, "loss": 1.25})
    '100/100 - 2s - 15ms/step - accuracy: 0.5000 - loss: 1.2500'
    """

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        print(f"Epoch {epoch + 1}/{self.params['epochs']}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        print(line_of(self.model.steps_done, self.model.seconds, logs or {}))


def line_of(steps: int, seconds: float, logs: Logs) -> str:
    """What was measured, as one line.

    Parameters
    ----------
    steps : int
    seconds : float
    logs : dict

    Examples
    --------
    >>> line_of(1, 0.02, {"loss": 0.00001})
    '1/1 - 0s - 20ms/step - loss: 1.0000e-05'
    """
    each = 1000 * seconds / max(1, steps)
    words = [f"{steps}/{steps}", f"{round(seconds)}s", f"{each:.0f}ms/step"]
    return " - ".join([*words, *(f"{name}: {_shown(value)}" for name, value in logs.items())])


def _shown(value: Any) -> str:
    small = isinstance(value, float) and 0 < abs(value) < 1e-3
    return f"{value:.4e}" if small or not math.isfinite(value) else f"{value:.4f}"


CLASSES = (
    CSVLogger, Callback, EarlyStopping, History, LambdaCallback, LearningRateScheduler,
    ModelCheckpoint, ReduceLROnPlateau,
)  # fmt: skip

if not TYPE_CHECKING:  # type checkers would believe that there is every name

    def __getattr__(name: str) -> NoReturn:
        raise _check.no_name_in_keras("bn.keras", "callback", name, [c.__name__ for c in CLASSES])
