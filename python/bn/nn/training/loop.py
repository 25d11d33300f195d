"""The loop of `fit`: epochs, batches, and the moments between batches at which it can be saved."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from bn import _check
from bn.module import Module
from bn.nn.clipping import clip_grad_norm
from bn.nn.optimizer import Optimizer
from bn.nn.reduction import Loss
from bn.nn.training.callbacks import Callback, TrainingState
from bn.nn.training.display import Display, showing
from bn.nn.training.evaluating import measured
from bn.nn.training.finite import first_bad_array
from bn.nn.training.history import History
from bn.nn.training.interrupt import Stop, stop_on_interrupt
from bn.nn.training.loader import Batch, BatchLoader, Samples
from bn.nn.training.metrics import Metric, Totals, fitting
from bn.nn.training.ranks import ManyRanks, OneRank
from bn.nn.training.resuming import generators_of, load_training, save_training
from bn.nn.training.steps import NotFinite, Task


@dataclass
class Setting:
    """What `fit` was asked for, with its defaults filled in."""

    model: Module
    train: Iterable[Batch]
    validation: Iterable[Batch] | None
    epochs: int
    criterion: Any
    optimizer: Optimizer
    schedule: Any
    schedule_every: str
    metrics: dict[str, Metric]
    callbacks: Sequence[Callback]
    progress: bool
    checkpoint: str | os.PathLike[str] | None
    save_every: int | None
    accumulate: int
    clip: float | None
    ranks: OneRank | ManyRanks

    def fixed(self) -> dict[str, Any]:
        """What must stay when a training goes on, since it decides the bits."""
        options = self.optimizer.initial_options
        return {
            **{f"{name} of the optimizer": values for name, values in options.items()},
            "batch_size": getattr(self.train, "batch_size", None),
            "accumulate": self.accumulate,
            "clip": self.clip,
            "schedule_every": self.schedule_every,
            "metrics": list(self.metrics),
            "callbacks": [
                described(each, ("monitor",) if each.monitor else ()) for each in self.callbacks
            ],
            "criterion": repr(self.criterion) if isinstance(self.criterion, Loss) else None,
            "schedule": described(self.schedule, getattr(self.schedule, "option_names", ())),
        }

    def shared(self) -> dict[str, Any]:
        """What must be the same on all ranks; callbacks need not be."""
        loaders = [each for each in (self.train, self.validation) if isinstance(each, BatchLoader)]
        return {
            **{name: value for name, value in self.fixed().items() if name != "callbacks"},
            "epochs": self.epochs,
            "save_every": self.save_every,
            "checkpoint": self.checkpoint is not None,
            "validation": self.validation is not None,
            "number of samples": [len(loader.y) for loader in loaders],
            "sample_weight": [loader.sample_weight is not None for loader in loaders],
        }


class Loop:
    """One training. Between two batches its attributes, and those of its parts, are all there is.

    Parameters
    ----------
    setting : Setting
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        s = setting
        self.state = TrainingState(s.model, s.optimizer, s.schedule)
        self.totals = Totals(())
        self.metrics: dict[str, Metric] | None = None  # known from the first targets on
        self.trained = False  # whether all batches of this epoch have been
        self.lr = s.optimizer.lr  # at the beginning of this epoch
        self.seconds = 0.0  # of this epoch, before it was resumed
        self.generators = dict.fromkeys(each for _, each in generators_of(s.model))
        self.schedule_takes_loss = s.schedule is not None and takes_argument(s.schedule.step)
        self.display: Display
        self.stop = Stop()

    # ---- the loop ----

    def run(self) -> History:
        """Train until the last epoch, or until a callback ends it."""
        s = self.setting
        shown = s.progress and s.ranks.first
        try:
            with stop_on_interrupt() as self.stop, showing(shown, s.epochs) as self.display:
                while self.state.epoch <= s.epochs and not self.state.stop:
                    self.epoch()
        finally:
            s.ranks.close()
        for callback in self.callbacks():
            callback.on_train_end(self.state)
        return self.state.history

    def epoch(self) -> None:
        self.begun = time.perf_counter()
        self.setting.model.train()
        self.display.begin(self.state.epoch, self.length(), self.state.batch)
        if not self.trained:
            self.train()
        if not self.trained:  # a callback ended it
            return
        logs = {"epoch": self.state.epoch, "lr": self.lr, **self.totals.means(), **self.validated()}
        logs["seconds"] = self.elapsed()
        self.state.logs = logs
        self.state.history.epochs.append(logs)
        self.display.end(logs)
        for callback in self.callbacks():
            callback.on_epoch_end(self.state)
        if self.setting.schedule_every == "epoch":
            self.step_schedule(logs.get("val_loss", logs["loss"]))
        self.lr = self.setting.optimizer.lr
        self.state.epoch, self.state.batch = self.state.epoch + 1, 0
        self.totals, self.trained, self.seconds = Totals(self.metrics or ()), False, 0.0
        self.begun = time.perf_counter()
        self.setting.ranks.check_alike()
        self.save()
        self.agree()
        self.interrupt()

    def train(self) -> None:
        """Train on the batches of this epoch that are left."""
        state, batches = self.state, self.batches()
        while True:
            place = f"epoch {state.epoch}, batch {state.batch + 1}"
            try:
                group = [self.samples(each) for each in islice(batches, self.setting.accumulate)]
                if not group:
                    break
                self.step(group, place)
            except Exception as error:
                _check.name_the_place(error, place)
                raise
            for callback in self.callbacks():
                callback.on_batch_end(state)
            self.display.batch(self.totals.mean("loss"), state.batch)
            self.boundary()
            if state.stop:
                self.save()
                return
        _check.batches_came("train", state.epoch, state.batch, self.length())
        _check.targets_counted("train", state.epoch, self.totals.counts["loss"])
        self.trained = True

    def step(self, group: Sequence[Samples], place: str) -> None:
        """Take one step of the optimizer, unless the criterion ignores all targets."""
        s, state = self.setting, self.state
        if self.metrics is None:
            self.metrics = fitting(s.metrics, s.criterion, group[0].y)
            self.totals = Totals(self.metrics)
        before = {each: each.bit_generator.state for each in self.generators}
        s.optimizer.zero_grad()
        try:
            step = s.ranks.gradients(Task(s.model, s.criterion, self.metrics), group)
        except NotFinite as error:
            reason = s.ranks.cause(s.model, group, before)
            raise FloatingPointError(
                f"the loss of step {state.step + 1} ({place}) is {error.loss}: {reason}"
            ) from None
        if step.totals.counts["loss"]:
            if s.clip is not None:
                clip_grad_norm(s.optimizer.params, s.clip)
            s.optimizer.step()
            if s.schedule_every == "batch":
                self.step_schedule(step.loss)
            state.loss, state.step = step.loss, state.step + 1
        self.totals.include(step.totals)
        state.totals = self.totals
        state.batch += len(group)

    def step_schedule(self, loss: float) -> None:
        """Step the schedule; one that waits for a plateau gets the loss."""
        schedule = self.setting.schedule
        if schedule is None:
            return
        if self.schedule_takes_loss:
            schedule.step(loss)
        else:
            schedule.step()

    def validated(self) -> dict[str, float]:
        """The means of the loss and the metrics over the validation data."""
        s = self.setting
        if s.validation is None:
            return {}
        try:
            batches = map(self.samples, s.validation)
            task = Task(s.model, s.criterion, self.metrics or {})
            totals = s.ranks.merged(measured(task, batches, self.pause))
        except Exception as error:
            _check.name_the_place(error, f"validation, epoch {self.state.epoch}")
            raise
        _check.batches_came("validation", self.state.epoch, totals.samples, None)
        _check.targets_counted("validation", self.state.epoch, totals.counts["loss"])
        return totals.means("val_")

    def callbacks(self) -> Iterator[Callback]:
        """Those of this rank."""
        for callback in self.setting.callbacks:
            if self.setting.ranks.first or not callback.writes:
                yield callback

    # ---- data ----

    def batches(self) -> Iterator[Batch]:
        """The batches of this epoch that are left."""
        train = self.setting.train
        seen = 0 if hasattr(train, "load_state_dict") else self.state.batch
        return islice(iter(train), seen, None)

    def samples(self, batch: Batch) -> Samples:
        return Samples.checked(batch, may_be_empty=self.setting.ranks.size > 1)

    def length(self) -> int | None:
        train = self.setting.train
        return len(train) if isinstance(train, Sized) else None

    # ---- between two batches ----

    def boundary(self) -> None:
        """After a batch: save if it is time to, and stop if Ctrl-C asked for it."""
        every = self.setting.save_every
        if every is not None and self.state.step % every == 0:
            self.save()
        self.agree()
        if self.stop.requested:
            self.save()
        self.interrupt()

    def pause(self) -> None:
        """Stop between batches of validation, where nothing has changed since the last training.

        Several ranks do not: they may have different numbers of these batches.
        """
        if self.setting.ranks.size == 1 and self.stop.requested:
            self.save()
            self.interrupt()

    def agree(self) -> None:
        """Stop if a callback or Ctrl-C asks for it on any rank."""
        stop = self.stop
        self.state.stop, stop.requested = self.setting.ranks.any(self.state.stop, stop.requested)

    def interrupt(self) -> None:
        if self.stop.requested:
            self.setting.ranks.stand_together()
            path = self.setting.checkpoint
            if path is None:
                raise KeyboardInterrupt
            raise KeyboardInterrupt(f"{os.fspath(path)} has what resume=True goes on with")

    def elapsed(self) -> float:
        return self.seconds + time.perf_counter() - self.begun

    def save(self) -> None:
        """Save all, unless the model is not finite: the last good file stays."""
        s = self.setting
        if s.checkpoint is None or not s.ranks.first:
            return
        bad = first_bad_array(s.model)
        if bad is not None:
            raise FloatingPointError(
                f"{bad} is not finite after step {self.state.step}: {os.fspath(s.checkpoint)} "
                "keeps the last training state that was finite"
            )
        save_training(
            s.checkpoint, s.model, s.optimizer, s.schedule,
            loader=self.loader(), callbacks=s.callbacks, extra=self.progress(),
        )  # fmt: skip

    def loader(self) -> Any:
        return self.setting.train if hasattr(self.setting.train, "state_dict") else None

    def progress(self) -> dict[str, Any]:
        state = self.state
        return {
            "epoch": state.epoch,
            "batches": state.batch,
            "step": state.step,
            "loss": state.loss,
            "stop": state.stop,
            "lr": self.lr,
            "trained": self.trained,
            "sums": self.totals.sums,
            "counts": self.totals.counts,
            "samples": self.totals.samples,
            "metrics": None if self.metrics is None else list(self.metrics),
            "seconds": self.elapsed(),
            "history": state.history.epochs,
            "ranks": self.setting.ranks.state_dict(),
            "fixed": self.setting.fixed(),
        }

    def begin(self, resume: bool) -> None:
        """Go on from the checkpoint if there is one; otherwise write the first one.

        A training that is killed before its first epoch ends has a file to go on from, too, and a
        disk that is full is known at once.
        """
        s = self.setting
        self.begun = time.perf_counter()
        s.ranks.check_settings(s.shared())
        if s.checkpoint is None:
            return
        exists = s.ranks.first and resume and Path(s.checkpoint).exists()
        if any(s.ranks.any(exists)):  # the other ranks may see the file that rank 0 writes next
            self.resume(s.checkpoint)
        else:
            self.save()

    def check(self, path: Any, found: dict[str, Any]) -> None:
        """Check what a file says of a training, against what is asked for."""
        _check.progress_in_file(path, found, self.progress())
        _check.same_settings(path, found["fixed"], self.setting.fixed())

    def resume(self, path: str | os.PathLike[str]) -> None:
        s, state = self.setting, self.state
        found = load_training(
            path, s.model, s.optimizer, s.schedule, loader=self.loader(), callbacks=s.callbacks,
            check=lambda found: self.check(path, found),
        )  # fmt: skip
        state.epoch, state.batch, state.step = found["epoch"], found["batches"], found["step"]
        state.loss, state.stop = found["loss"], found["stop"]
        state.history = History(found["history"])
        state.logs = state.history.epochs[-1] if state.history.epochs else {}
        self.trained, self.seconds, self.lr = found["trained"], found["seconds"], found["lr"]
        self.totals.sums, self.totals.counts = found["sums"], found["counts"]
        self.totals.samples = found["samples"]
        s.ranks.load_state_dict(found["ranks"])
        if found["metrics"] is not None:
            self.metrics = {name: s.metrics[name] for name in found["metrics"]}


def described(value: Any, names: Iterable[str]) -> str | None:
    """The class and some attributes of an object, those of objects in lists too."""
    if value is None:
        return None
    options = []
    for name in names:
        option = getattr(value, name)
        if isinstance(option, list):
            option = [described(each, getattr(each, "option_names", ())) for each in option]
        options.append(f"{name}={option!r}")
    name = type(value).__name__
    return f"{name}({', '.join(options)})" if options else name


def takes_argument(function: Callable[..., Any]) -> bool:
    """Whether a function cannot be called without an argument."""
    arguments = inspect.signature(function).parameters.values()
    return any(each.default is each.empty for each in arguments)
