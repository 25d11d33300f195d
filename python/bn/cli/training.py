"""Training of one network: the loop over epochs, and the test after each of them."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import numpy as np

import bn
from bn import nn
from bn.cli.data import Dataset, Pixels
from bn.cli.models import Recipe
from bn.module import Module
from bn.types import Array

MOMENTUM = 0.9


@dataclass
class Epoch:
    """The results of one pass over the training images, and of the test after it in eval mode."""

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float
    images_per_second: float


@dataclass
class Run:
    """The training of one network.

    Attributes
    ----------
    status : {"complete", "interrupted", "diverged"}
    seconds : float
        The time of all training steps, without the tests.
    train_loss : float
        The mean over the images of the last epoch, or of its part that was trained on: it belongs
        to the network whose accuracies stand beside it.
    test_accuracy_eval, test_accuracy_batch : float
        The accuracy in eval mode, with the running statistics, and the accuracy with the statistics
        of each test batch.
    """

    network: str
    batch_norm: bool
    status: str = "complete"
    seconds: float = 0.0
    train_loss: float = math.nan
    test_accuracy_eval: float = math.nan
    test_accuracy_batch: float = math.nan
    epochs: list[Epoch] = field(default_factory=list)


class Watcher(Protocol):
    """An object that is told how a training goes."""

    def start(self, run: Run, epochs: int, steps: int) -> None: ...
    def step(self, loss: float, images_per_second: float) -> None: ...
    def epoch(self, epoch: Epoch, epochs: int) -> None: ...


class Stop(Protocol):
    """An object that can request the end of a training, which happens between two steps."""

    requested: bool


@dataclass(frozen=True)
class Options:
    """How to train a network."""

    epochs: int
    batch_size: int
    lr: float
    seed: int


@dataclass
class Trainer:
    """The training of a network on a data set."""

    model: Module
    recipe: Recipe
    data: Dataset
    pixels: Pixels
    options: Options

    def __post_init__(self) -> None:
        self.criterion = nn.CrossEntropyLoss(from_logits=self.recipe.from_logits)
        self.steps = len(split(len(self.data.x_train), self.options.batch_size))
        self.opt = nn.SGD(self.model.parameters(), lr=self.options.lr, momentum=MOMENTUM)
        total = self.options.epochs * self.steps
        self.schedule = nn.CosineAnnealingLR(self.opt, T_max=total, eta_min=0.0)
        self.rng = np.random.default_rng([self.options.seed, 1])  # for the order of the images

    def fit(self, run: Run, watcher: Watcher, stop: Stop) -> None:
        """Train until the last epoch, a loss that is not finite or a requested stop; fill `run`."""
        watcher.start(run, self.options.epochs, self.steps)
        with quiet():
            for number in range(1, self.options.epochs + 1):
                epoch = self.train_epoch(number, run, watcher, stop)
                if epoch is None:
                    run.status = "interrupted"
                    break
                run.epochs.append(epoch)
                watcher.epoch(epoch, self.options.epochs)
                if not math.isfinite(epoch.train_loss):
                    run.status = "diverged"
                    break

    def measure_both(self, run: Run) -> None:
        """Test the trained network with the running statistics and with those of each batch."""
        with quiet():
            _, run.test_accuracy_eval = self.test()
            run.test_accuracy_batch = self.test_with_batch_statistics()

    def train_epoch(self, number: int, run: Run, watcher: Watcher, stop: Stop) -> Epoch | None:
        """Make one pass over the training images and test; None if a stop was requested."""
        data, loss, right, seen, seconds = self.data, 0.0, 0, 0, 0.0
        order = self.rng.permutation(len(data.x_train))
        lr = self.opt.lr
        self.model.train()
        for part in split(len(order), self.options.batch_size):
            if stop.requested:
                return None
            start = time.perf_counter()
            rows = order[part]
            batch_loss, batch_right = self.train_step(data.x_train[rows], data.y_train[rows])
            elapsed = time.perf_counter() - start
            seconds, run.seconds = seconds + elapsed, run.seconds + elapsed
            loss, right, seen = loss + batch_loss * len(rows), right + batch_right, seen + len(rows)
            run.train_loss = loss / seen
            watcher.step(run.train_loss, seen / seconds)
            if not math.isfinite(loss):
                break
        test_loss, test_accuracy = self.test()
        return Epoch(
            epoch=number,
            lr=lr,
            train_loss=loss / seen,
            train_accuracy=right / seen,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            seconds=seconds,
            images_per_second=seen / seconds,
        )

    def train_step(self, pixels: Array, y: Array) -> tuple[float, int]:
        """Make one step of gradient descent; return the loss and the number of right answers."""
        out = self.model(self.pixels.to_input(pixels, self.data.peak, self.recipe.axis))
        loss = float(self.criterion(out, y))
        self.opt.zero_grad()
        self.model.backward(self.criterion.backward(), input_grad=False)
        self.opt.step()
        self.schedule.step()
        return loss, count_right(out, y)

    def test(self) -> tuple[float, float]:
        """Loss and accuracy on the test images in eval mode."""
        self.model.eval()
        return self.measure()

    def test_with_batch_statistics(self) -> float:
        """Accuracy on the test images with the statistics of each batch, as in training.

        The running statistics do not change.
        """
        try:
            self.model.train()
            with bn.no_stat_update():
                return self.measure()[1]
        finally:
            self.model.eval()

    def measure(self) -> tuple[float, float]:
        """Loss and accuracy on the test images in the current mode of the network."""
        loss, right, n = 0.0, 0, len(self.data.y_test)
        for part in split(n, self.options.batch_size):
            y = self.data.y_test[part]
            x = self.pixels.to_input(self.data.x_test[part], self.data.peak, self.recipe.axis)
            out = self.model(x)
            loss += float(self.criterion(out, y)) * len(y)
            right += count_right(out, y)
        return loss / n, right / n


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings about numbers that are not finite: divergence is a result of training."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", bn.NonFiniteWarning)
        yield


def count_right(out: Array, y: Array) -> int:
    return int(np.count_nonzero(out.argmax(axis=1) == y))


def split(n: int, size: int) -> list[slice]:
    """Divide n images into batches of about equal length, at most `size`.

    From two images on, no batch has a single one, since batch normalization cannot train on it. If
    `size` is two, a batch may therefore have three images.

    Examples
    --------
    >>> split(10, 4)
    [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
    """
    count = max(1, min(-(-n // size), n // 2))
    bounds = [(n * i + count - 1) // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(bounds)]
