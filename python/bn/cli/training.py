"""Training of one network by `nn.fit`, and what is measured of it."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import bn
from bn import nn
from bn.cli.batches import Batches
from bn.cli.data import Dataset, Pixels
from bn.cli.models import Recipe
from bn.module import Module
from bn.nn import augment
from bn.types import Array

MOMENTUM = 0.9
LARGEST_SHIFT = 8  # an augmentation shifts images by at most this part of their size


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
    network : str
        Its name in tables and pictures.
    norm : str
    lr : float
    batch_size : int
    status : {"complete", "stopped early", "interrupted", "diverged"}
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
    norm: str = "batch"
    lr: float = math.nan
    batch_size: int = 0
    status: str = "interrupted"
    seconds: float = 0.0
    train_loss: float = math.nan
    test_accuracy_eval: float = math.nan
    test_accuracy_batch: float = math.nan
    epochs: list[Epoch] = field(default_factory=list)

    def restore(self, fields: Mapping[str, Any]) -> None:
        """Take what `dataclasses.asdict` made of another run."""
        vars(self).update(fields, epochs=[Epoch(**epoch) for epoch in fields["epochs"]])


class Watcher(Protocol):
    """An object that is told how a training goes."""

    def start(self, run: Run, epochs: int, steps: int) -> None: ...
    def step(self, loss: float, images_per_second: float, done: int) -> None: ...
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
    augment: bool = False
    patience: int | None = None  # epochs
    comm: Any = None  # of the ranks that train together


class Recorder(nn.Callback):
    """Fills a `Run` while `nn.fit` trains, and tells the watcher.

    Parameters
    ----------
    run : Run
    batches : Batches
        The training images.
    watcher : Watcher
    stop : Stop
    epochs : int
    """

    def __init__(
        self, run: Run, batches: Batches, watcher: Watcher, stop: Stop, epochs: int
    ) -> None:
        self.run, self.batches, self.watcher = run, batches, watcher
        self.stop, self.epochs = stop, epochs
        self.begin()

    def begin(self) -> None:
        """Begin an epoch."""
        self.loss, self.seen, self.seconds = 0.0, 0, 0.0

    def on_batch_end(self, state: nn.TrainingState) -> None:
        elapsed, images = time.perf_counter() - self.batches.started, self.batches.size
        self.loss, self.seen = self.loss + state.loss * images, self.seen + images
        self.seconds, self.run.seconds = self.seconds + elapsed, self.run.seconds + elapsed
        self.run.train_loss = self.loss / self.seen
        self.watcher.step(self.run.train_loss, self.seen / self.seconds, state.step)
        if self.stop.requested:
            raise KeyboardInterrupt

    def on_epoch_end(self, state: nn.TrainingState) -> None:
        logs = state.logs
        epoch = Epoch(
            epoch=logs["epoch"],
            lr=logs["lr"],
            train_loss=logs["loss"],
            train_accuracy=logs["accuracy"],
            test_loss=logs["val_loss"],
            test_accuracy=logs["val_accuracy"],
            seconds=self.seconds,
            images_per_second=self.seen / self.seconds,
        )
        self.run.epochs.append(epoch)
        self.watcher.epoch(epoch, self.epochs)
        self.begin()

    def state_dict(self) -> dict[str, Any]:
        names = ("loss", "seen", "seconds")
        return {"run": asdict(self.run), **{name: getattr(self, name) for name in names}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.run.restore(state["run"])
        self.loss, self.seen, self.seconds = state["loss"], state["seen"], state["seconds"]


@dataclass
class Trainer:
    """The training of a network on a data set."""

    model: Module
    recipe: Recipe
    data: Dataset
    pixels: Pixels
    options: Options

    def __post_init__(self) -> None:
        options, data = self.options, self.data
        self.criterion = nn.CrossEntropyLoss(from_logits=self.recipe.from_logits)
        rng = np.random.default_rng([options.seed, 1])  # for the order of the images
        shard = (0, 1) if options.comm is None else (options.comm.rank, options.comm.size)
        self.train = Batches(
            data.x_train, data.y_train, self.to_input, options.batch_size,
            rng, self.augmentation(), shard,
        )  # fmt: skip
        self.tests = Batches(data.x_test, data.y_test, self.to_input, options.batch_size)
        self.part_of_tests = Batches(
            data.x_test, data.y_test, self.to_input, options.batch_size, shard=shard
        )
        self.steps = len(self.train)
        self.opt = nn.SGD(self.model.parameters(), lr=options.lr, momentum=MOMENTUM)
        total = options.epochs * self.steps
        self.schedule = nn.CosineAnnealingLR(self.opt, T_max=total, eta_min=0.0)

    def to_input(self, images: Array) -> Array:
        return self.pixels.to_input(images, self.data.peak, self.recipe.axis)

    def augmentation(self) -> augment.Augmentation | augment.Compose | None:
        """Small shifts, and mirror images of photos; letters and digits do not come mirrored."""
        if not self.options.augment:
            return None
        (channels, height, width), axis = self.data.shape, self.recipe.axis
        most = (max(1, height // LARGEST_SHIFT), max(1, width // LARGEST_SHIFT))
        shift = augment.RandomCrop(most, axis=axis)
        return shift if channels == 1 else augment.Compose([augment.RandomFlip(axis=axis), shift])

    def fit(self, run: Run, watcher: Watcher, stop: Stop, checkpoint: Path | None = None) -> None:
        """Train until the last epoch, a loss that is not finite or a requested stop; fill `run`.

        A training that `checkpoint` has goes on.
        """
        options = self.options
        watcher.start(run, options.epochs, self.steps)
        callbacks: list[nn.Callback] = [Recorder(run, self.train, watcher, stop, options.epochs)]
        if options.patience is not None:
            callbacks.append(nn.EarlyStopping("val_loss", options.patience))
        run.status = "interrupted"
        try:
            with quiet():
                nn.fit(
                    self.model,
                    self.train,
                    validation=self.part_of_tests,
                    epochs=options.epochs,
                    criterion=self.criterion,
                    optimizer=self.opt,
                    schedule=self.schedule,
                    schedule_every="batch",
                    callbacks=callbacks,
                    progress=False,
                    checkpoint=checkpoint,
                    resume=checkpoint is not None,
                    comm=options.comm,
                )
        except FloatingPointError:
            run.status, run.train_loss = "diverged", math.nan
        except KeyboardInterrupt:
            run.status = "interrupted"
        else:
            run.status = "complete" if len(run.epochs) == options.epochs else "stopped early"

    def measure_both(self, run: Run) -> None:
        """Test the trained network with the running statistics and with those of each batch."""
        with quiet():
            run.test_accuracy_eval = self.test()
            run.test_accuracy_batch = self.test_with_batch_statistics()

    def test(self) -> float:
        """Accuracy on the test images in eval mode."""
        self.model.eval()
        return self.measure()

    def test_with_batch_statistics(self) -> float:
        """Accuracy on the test images with the statistics of each batch, as in training.

        The running statistics do not change.
        """
        try:
            self.model.train()
            with bn.no_stat_update():
                return self.measure()
        finally:
            self.model.eval()

    def measure(self) -> float:
        """Accuracy on the test images in the current mode of the network."""
        with nn.no_grad():
            right = [np.count_nonzero(self.model(x).argmax(axis=1) == y) for x, y in self.tests]
        return int(sum(right)) / len(self.data.y_test)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings about numbers that are not finite: divergence is a result of training."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", bn.NonFiniteWarning)
        yield
