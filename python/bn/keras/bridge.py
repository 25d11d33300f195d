"""What stands between `bn.nn.fit` and Keras's callbacks: moments, and the loss that is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bn import _check, nn
from bn.inputs import Inputs, samples, taken
from bn.keras.callbacks import Callback
from bn.keras.layers.weight import Weight
from bn.keras.losses import Loss
from bn.nn.training.evaluating import measured
from bn.nn.training.loader import Samples
from bn.nn.training.metrics import Totals
from bn.nn.training.steps import Task
from bn.prediction import parts, predict
from bn.types import Array

if TYPE_CHECKING:
    from bn.keras.data import Batches
    from bn.keras.training import Trainer


class Objective:
    """The loss of a batch and the penalties of a model's regularizers.

    Parameters
    ----------
    loss : Loss
    weights : iterable of Weight
    """

    def __init__(self, loss: Loss, weights: Iterable[Weight]) -> None:
        self.loss = loss
        self.penalized = [weight for weight in weights if weight.regularizer is not None]

    def __call__(
        self, y: Array, target: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> float:
        loss = self.loss.of(y, np.asarray(target), sample_weight)
        return loss + sum(weight.penalty() for weight in self.penalized)

    def backward(self) -> Array:
        """The gradient by the output; those of the penalties are added to the parameters'."""
        for weight in self.penalized:
            weight.add_penalty_gradient()
        return self.loss.backward()


class Moments:
    """Callbacks, and the moments at which all of them are called.

    Parameters
    ----------
    model : Trainer
    callbacks : Callback, list of them or None
    settings : dict
        What the callbacks get as `params`.
    """

    def __init__(self, model: Trainer, callbacks: Any, settings: dict[str, Any]) -> None:
        self.callbacks = several(callbacks)
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(settings)

    def call(self, moment: str, *given: Any) -> None:
        """Call a method of each callback."""
        for callback in self.callbacks:
            getattr(callback, moment)(*given)

    def measured(self, task: Task, batches: Iterable[Samples]) -> Totals:
        """The totals of batches in eval mode."""
        totals = Totals(task.metrics)
        self.call("on_test_begin", {})
        for number, batch in enumerate(batches):
            self.call("on_test_batch_begin", number, {})
            totals.include(measured(task, [batch]))
            if self.callbacks:
                self.call("on_test_batch_end", number, logs_of(totals.means()))
        self.call("on_test_end", logs_of(totals.means()))
        return totals

    def predicted(self, model: Trainer, x: Inputs, batch_size: int) -> Array:
        """The outputs of a model, batch by batch."""
        if not self.callbacks:
            return predict(model, x, batch_size)
        self.call("on_predict_begin", {})
        outputs = []
        for number, part in enumerate(parts(samples(x), batch_size)):
            self.call("on_predict_batch_begin", number, {})
            outputs.append(predict(model, taken(x, part), batch_size))
            self.call("on_predict_batch_end", number, {"outputs": outputs[-1]})
        self.call("on_predict_end", {})
        return np.concatenate(outputs)


class Bridge(nn.Callback):
    """Calls Keras's callbacks at their moments of `bn.nn.fit`, and validates.

    Parameters
    ----------
    model : Trainer
    moments : Moments
    first_epoch : int
        The number of the first epoch.
    validation : iterable of batches or None
    """

    def __init__(
        self, model: Trainer, moments: Moments, first_epoch: int, validation: Batches | None
    ) -> None:
        self.model, self.moments, self.epoch = model, moments, first_epoch
        self.validation = validation
        self.batch, self.begun = 0, 0.0  # of this epoch

    def begin_epoch(self) -> None:
        """An epoch begins."""
        self.batch, self.begun = 0, time.perf_counter()
        self.moments.call("on_epoch_begin", self.epoch, {})

    def begin_batch(self) -> None:
        """A batch begins."""
        self.moments.call("on_train_batch_begin", self.batch, {})

    def on_batch_end(self, state: nn.TrainingState) -> None:
        if self.moments.callbacks:
            means = state.totals.means()
            self.moments.call("on_train_batch_end", self.batch, logs_of(means))
        self.batch += 1

    def on_epoch_end(self, state: nn.TrainingState) -> None:
        logs = logs_of({**state.logs, **self._validated()})
        self.model.steps_done, self.model.seconds = self.batch, time.perf_counter() - self.begun
        self.moments.call("on_epoch_end", self.epoch, logs)
        self.epoch += 1
        state.stop = self.model.stop_training

    def _validated(self) -> dict[str, float]:
        """The means of the loss and the metrics over the validation data."""
        if self.validation is None:
            return {}
        place = f"validation, epoch {self.epoch + 1}"
        try:
            batches = (Samples.checked(batch) for batch in self.validation)
            totals = self.moments.measured(self.model.task(), batches)
        except Exception as error:
            _check.name_the_place(error, place)
            raise
        _check.batches_came("validation", self.epoch + 1, totals.samples, None)
        return totals.means("val_")


def several(callbacks: Any) -> list[Callback]:
    """The callbacks of an argument, which may be one alone.

    Parameters
    ----------
    callbacks : Callback, list of them or None

    Raises
    ------
    TypeError
        It is none of these.

    Examples
    --------
    >>> several(None), len(several(Callback()))
    ([], 1)
    """
    if callbacks is None or isinstance(callbacks, Callback):
        return [callbacks] if callbacks is not None else []
    _check.keras_kind("callbacks", callbacks, (tuple, list), "a callback of bn.keras or a list")
    for callback in callbacks:
        _check.keras_kind("each callback", callback, Callback, "a callback of bn.keras")
    return list(callbacks)


def logs_of(measured: dict[str, Any]) -> dict[str, float]:
    """What was measured, as Keras's callbacks get it: in the order of the names.

    Parameters
    ----------
    measured : dict

    Examples
    --------
    >>> logs_of({"epoch": 1, "lr": 0.1, "loss": 0.5, "accuracy": 1.0, "seconds": 2.0})
    {'accuracy': 1.0, 'loss': 0.5}
    """
    return {
        name: 0.0 if math.isnan(value) else float(value)  # a share of nothing, as of a precision
        for name, value in sorted(measured.items())
        if name not in ("epoch", "lr", "seconds")
    }
