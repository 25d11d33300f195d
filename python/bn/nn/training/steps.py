"""The gradients of one step: of a batch, or of several batches as if they were one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bn import _check
from bn._core import core
from bn.inputs import Inputs, call_with, joined
from bn.layers.batch_norm import BatchNorm, batch_norms
from bn.layers.ghost import GhostBatchNorm
from bn.module import Module
from bn.nn.cross_entropy import CrossEntropyLoss
from bn.nn.reduction import Loss
from bn.nn.training.loader import Samples
from bn.nn.training.lockstep import Meeting, counted_once, meeting_at
from bn.nn.training.metrics import Metric, Totals
from bn.recording.kept import frame_of
from bn.recording.record import takes_input_grad
from bn.types import Array


@dataclass(frozen=True)
class Task:
    """What gradients are taken of, and what is measured beside them."""

    model: Module
    criterion: Any
    metrics: dict[str, Metric]

    def totals(self, loss: float, count: float, outputs: Iterable[tuple[Array, Samples]]) -> Totals:
        """The totals of some batches, whose loss is a mean over `count`, or a sum."""
        totals = Totals(self.metrics)
        for out, batch in outputs:
            totals.measure(self.metrics, out, batch.y)
        totals.add(loss, count, self.criterion, totals.samples)
        return totals


@dataclass(frozen=True)
class Step:
    """What the gradients of a step were made of.

    Attributes
    ----------
    loss : float
        NaN if nothing counts in it.
    totals : Totals
        Of the loss and the metrics.
    """

    loss: float
    totals: Totals


Gradients = Callable[[Task, Sequence[Samples]], Step]


class NotFinite(Exception):
    """A loss was NaN or infinite, before any gradient was added to others."""

    def __init__(self, loss: float) -> None:
        super().__init__(loss)
        self.loss = loss


def gradients_of(model: Module, criterion: Any, accumulate: int) -> Gradients:
    """The function that adds the gradients of a step.

    Parameters
    ----------
    model : Module
    criterion : callable
    accumulate : int
        The number of batches whose gradients make one step.

    Returns
    -------
    callable
        ``gradients(task, batches)`` returns a `Step`. If the loss is not finite, it
        raises `NotFinite`, and running statistics stay. A batch of which no target counts adds
        nothing to the gradients.
    """
    if accumulate == 1:
        return of_one
    check_accumulation(model)
    reduces = isinstance(criterion, Loss) and criterion.reduction in ("mean", "sum")
    return of_parts if reduces and not _meeting_places(model) else in_lockstep


def check_accumulation(model: Module) -> None:
    """Refuse layers whose results for parts of a batch are not those of the batch."""
    for place, layer, reason in bound_to_batches(model):
        _check.accumulates(place, layer, reason)
    for path, layer in batch_norms(model):
        if layer.combining() is not None:
            _check.accumulates(path, layer, "whose combine is in use")
        if layer.corrects:
            _check.accumulates(path, layer, "whose output depends on running statistics")


def bound_to_batches(model: Module) -> Iterator[tuple[str, Module, str]]:
    """(path, layer, reason) of layers whose results need the whole batch in one place."""
    for path, layer in model.named_modules():
        place = path or "the model"
        if isinstance(layer, GhostBatchNorm):
            yield place, layer, "whose ghost batches are parts of a whole batch"
        elif isinstance(layer, BatchNorm):
            regularizers = ("gamma_regularizer", "beta_regularizer")
            if any(getattr(layer, name, None) is not None for name in regularizers):
                yield place, layer, "whose regularizer would count for each part"
        elif list(layer.own_buffers()):
            yield place, layer, "whose buffers change with each part of a batch"


def _meeting_places(model: Module) -> list[tuple[str, BatchNorm]]:
    """The batch normalizations that take the statistics of batches."""
    return [
        (path, layer)
        for path, layer in batch_norms(model)
        if layer.uses_batch_stats(True) or layer.lets_in(True)
    ]


def forward(model: Module, x: Inputs) -> Array:
    out: Array = call_with(model, x)
    _check.one_output(out)
    return out


def backward(model: Module, dout: Array) -> None:
    """The backward pass without the gradient of the input, where that can be left out."""
    if takes_input_grad(type(model).backward) or model.records:
        model.backward(dout, input_grad=False)
    else:
        model.backward(dout)


def loss_of(criterion: Any, out: Array, batch: Samples) -> tuple[float, float]:
    """The loss, and how much it counts in a mean; (NaN, 0) if no target counts."""
    if isinstance(criterion, CrossEntropyLoss):
        _check.several_classes(out.shape)
    if batch.weight is None:
        loss = _check.one_loss(criterion(out, batch.y))
    else:
        _check.takes_weights(criterion)
        loss = _check.one_loss(criterion(out, batch.y, sample_weight=batch.weight))
    takes_mean = isinstance(criterion, Loss) and criterion.reduction == "mean"
    count = criterion.count if takes_mean else float(len(batch))
    return (loss, count) if count else (math.nan, 0.0)


def finite_loss_of(criterion: Any, out: Array, batch: Samples) -> tuple[float, float]:
    """The same, or `NotFinite`."""
    loss, count = loss_of(criterion, out, batch)
    if count and not math.isfinite(loss):
        raise NotFinite(loss)
    return loss, count


def of_one(task: Task, batches: Sequence[Samples]) -> Step:
    """The gradients of one batch."""
    (batch,) = batches
    with core.Transaction():
        out = forward(task.model, batch.x)
        loss, count = finite_loss_of(task.criterion, out, batch)
    backward(task.model, task.criterion.backward())
    return Step(loss, task.totals(loss, count, [(out, batch)]))


def of_parts(task: Task, batches: Sequence[Samples]) -> Step:
    """The gradients of several batches, one after the other, which needs the memory of one.

    Sums of the losses have no denominator that all parts must know; the mean's is divided by at the
    end.
    """
    mean = task.criterion.reduction == "mean"
    total, counts, outputs = 0.0, 0.0, []
    for batch in batches:
        out = forward(task.model, batch.x)
        loss, count = finite_loss_of(task.criterion, out, batch)
        backward(task.model, task.criterion.backward(count if mean else 1.0))
        if count:
            total += loss * count if mean else loss
        counts += count
        outputs.append((out, batch))
    if mean and counts:
        for parameter in task.model.parameters():
            if parameter.grad is not None:
                parameter.grad /= counts
        total /= counts
    loss = total if counts else math.nan
    return Step(loss, task.totals(loss, counts, outputs))


def in_lockstep(task: Task, batches: Sequence[Samples]) -> Step:
    """The gradients of several batches whose normalizations take the statistics of all together.

    What the layers keep for the backward pass is that of all batches.
    """
    frames: list[dict[Any, Any]] = [{} for _ in batches]
    with meeting_at(_meeting_places(task.model), len(batches)) as meeting:
        with core.Transaction():
            xs = [batch.x for batch in batches]
            outputs: list[Array] = _in_frames(meeting, forward, task.model, frames, xs)
            whole = together(batches)
            loss, count = finite_loss_of(task.criterion, np.concatenate(outputs), whole)
        ends = np.cumsum([len(out) for out in outputs])[:-1]
        douts = np.split(task.criterion.backward(), ends)
        _in_frames(meeting, backward, task.model, frames, douts)
    return Step(loss, task.totals(loss, count, zip(outputs, batches, strict=True)))


def together(batches: Sequence[Samples]) -> Samples:
    """Several batches as one; one without weights counts its samples as 1."""
    x, y = joined([batch.x for batch in batches]), np.concatenate([batch.y for batch in batches])
    if all(batch.weight is None for batch in batches):
        return Samples(x, y)
    weights = [np.ones(len(b.y)) if b.weight is None else b.weight for b in batches]
    return Samples(x, y, np.concatenate(weights))


def _in_frames(
    meeting: Meeting,
    function: Callable[[Module, Any], Any],
    model: Module,
    frames: Sequence[dict[Any, Any]],
    arguments: Sequence[Any],
) -> list[Any]:
    """The results of a function for each part, whose layers keep in the part's own frame."""

    def part(number: int) -> Any:
        with frame_of(frames[number]):
            return function(model, arguments[number])

    return meeting.run([counted_once(i, partial(part, i)) for i in range(len(arguments))])
