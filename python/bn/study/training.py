"""One training of a classifier, by `nn.fit`, and what it reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import bn
from bn import nn
from bn.module import Module
from bn.nn.optimizer import Optimizer
from bn.study.data import Data
from bn.study.results import Measured, Setting


@dataclass(frozen=True)
class Trained:
    """What a training measured.

    Attributes
    ----------
    loss : list of float
        Of the training, after each epoch.
    validation : list of float
        The accuracy on the validation's samples after each epoch.
    tests : list of float
        The accuracy on the test's samples after each epoch, if that was asked for.
    diverged : bool
        Whether a loss was NaN or infinite; then the training ended, and its accuracy counts as
        chance: 1 / classes.
    """

    model: Module
    data: Data
    loss: list[float]
    validation: list[float]
    tests: list[float]
    diverged: bool

    @property
    def chance(self) -> float:
        return 1 / self.data.classes

    def test(self) -> float:
        """The accuracy on the test's samples."""
        if self.diverged:
            return self.chance
        return nn.evaluate(self.model, self.data.x_test, self.data.y_test)["accuracy"]

    def reached(self) -> float:
        """The accuracy on the validation's samples at the end."""
        return self.chance if self.diverged else self.validation[-1]

    def recalibrated(self) -> Trained:
        """The network with the statistics of all training samples as its running statistics.

        If these are not finite, it has diverged.
        """
        if self.diverged:
            return self
        try:
            bn.recalibrate(self.model, [self.data.x])
        except ValueError:
            return replace(self, diverged=True)
        return self

    def summary(self) -> Measured:
        """Accuracies at the end, and whether it diverged."""
        return {"validation": self.reached(), "test": self.test(), "diverged": self.diverged}


def train(
    model: Module,
    data: Data,
    *,
    lr: float,
    epochs: int,
    batch_size: int,
    seed: int,
    momentum: float = 0.9,
    optimizer: Optimizer | None = None,
    cosine: bool = False,
    validate: bool = True,
    test_each_epoch: bool = False,
    callbacks: Sequence[nn.Callback] = (),
) -> Trained:
    """Train with SGD, or another `optimizer`, on the cross-entropy.

    Parameters
    ----------
    model : Module
    data : Data
    lr, momentum : float
        Of SGD. With `cosine` the rate falls to 0 along a cosine.
    epochs, batch_size : int
    seed : int
        For the order of the samples.
    optimizer : Optimizer, optional
    cosine : bool
    validate : bool
        Whether to measure the accuracy on the validation's samples after each epoch, or only at the
        end.
    test_each_epoch : bool
        Whether to measure the accuracy on the test's samples too.
    callbacks : sequence of Callback
        Of `nn.fit`, for what only one study measures.
    """
    recorder = _Recorder(data if test_each_epoch else None)
    optimizer = optimizer or nn.SGD(model.parameters(), lr, momentum)
    diverged = False
    try:
        nn.fit(
            model,
            (data.x, data.y),
            validation=(data.x_validation, data.y_validation) if validate else None,
            epochs=epochs,
            optimizer=optimizer,
            schedule=nn.CosineAnnealingLR(optimizer, epochs) if cosine else None,
            batch_size=batch_size,
            callbacks=[recorder, *callbacks],
            rng=seed,
            progress=False,
        )
    except FloatingPointError:
        diverged = True
    if not validate and not diverged:
        scores = nn.evaluate(model, data.x_validation, data.y_validation)
        recorder.validation.append(scores["accuracy"])
    return Trained(model, data, recorder.loss, recorder.validation, recorder.tests, diverged)


def train_as(setting: Setting, model: Module, data: Data, seed: int, **options: Any) -> Trained:
    """Train with the learning rate, the epochs and the size of batches that a setting has."""
    return train(
        model, data, lr=setting["lr"], epochs=setting["epochs"], batch_size=setting["batch_size"],
        seed=seed, **options,
    )  # fmt: skip


class _Recorder(nn.Callback):
    """Keeps what was measured before a training diverged."""

    def __init__(self, tested: Data | None) -> None:
        self.tested = tested
        self.loss: list[float] = []
        self.validation: list[float] = []
        self.tests: list[float] = []

    def on_epoch_end(self, state: nn.TrainingState) -> None:
        self.loss.append(state.logs["loss"])
        if "val_accuracy" in state.logs:
            self.validation.append(state.logs["val_accuracy"])
        if self.tested is not None:
            scores = nn.evaluate(state.model, self.tested.x_test, self.tested.y_test)
            self.tests.append(scores["accuracy"])
