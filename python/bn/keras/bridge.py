"""What stands between `bn.nn.fit` and Keras's callbacks: moments, and the loss that is trained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bn import nn
from bn.keras.callbacks import Callback
from bn.keras.layers.weight import Weight
from bn.keras.losses import Loss
from bn.types import Array

if TYPE_CHECKING:
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


class Bridge(nn.Callback):
    """Calls Keras's callbacks at their moments of `bn.nn.fit`.

    Parameters
    ----------
    model : Trainer
    callbacks : sequence of Callback
    first_epoch : int
        The number of the first epoch.
    """

    def __init__(self, model: Trainer, callbacks: Sequence[Callback], first_epoch: int) -> None:
        self.model, self.callbacks, self.epoch = model, callbacks, first_epoch
        self.batch = 0  # of this epoch
        self.size = 0  # of this batch
        self.loss, self.samples = 0.0, 0  # of this epoch

    def begin(self, settings: dict[str, Any]) -> None:
        """The training begins."""
        for callback in self.callbacks:
            callback.set_model(self.model)
            callback.set_params(settings)
        for callback in self.callbacks:
            callback.on_train_begin({})

    def end(self) -> None:
        """The training has ended."""
        for callback in self.callbacks:
            callback.on_train_end({})

    def begin_epoch(self) -> None:
        """An epoch begins."""
        self.batch, self.loss, self.samples = 0, 0.0, 0
        for callback in self.callbacks:
            callback.on_epoch_begin(self.epoch, {})

    def begin_batch(self, size: int) -> None:
        """A batch of so many samples begins."""
        self.size = size
        for callback in self.callbacks:
            callback.on_train_batch_begin(self.batch, {})

    def on_batch_end(self, state: nn.TrainingState) -> None:
        self.loss, self.samples = self.loss + state.loss * self.size, self.samples + self.size
        for callback in self.callbacks:
            callback.on_train_batch_end(self.batch, {"loss": self.loss / self.samples})
        self.batch += 1

    def on_epoch_end(self, state: nn.TrainingState) -> None:
        logs = logs_of(state.logs)
        self.model.steps_done, self.model.seconds = self.batch, state.logs["seconds"]
        for callback in self.callbacks:
            callback.on_epoch_end(self.epoch, logs)
        self.epoch += 1
        state.stop = self.model.stop_training


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
