"""The gradients of one step: of a batch, or of several batches as if they were one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
from bn.recording.kept import frame_of
from bn.recording.record import takes_input_grad
from bn.types import Array


@dataclass(frozen=True)
class Step:
    """What the gradients of a step were made of.

    Attributes
    ----------
    loss : float
        NaN if nothing counts in it.
    count : float
        How much it counts in the mean of several batches: what the criterion divided by, such as
        the number of targets that are not ignored, or else the number of samples.
    outputs : list of ndarray
        Of the batches.
    """

    loss: float
    count: float
    outputs: list[Array]


Gradients = Callable[[Module, Any, Sequence[Samples]], Step]


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
        ``gradients(model, criterion, batches)`` returns a `Step`. If the loss is not finite, it
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
    for path, layer in model.named_modules():
        place = path or "the model"
        if isinstance(layer, GhostBatchNorm):
            _check.accumulates(place, layer, "whose ghost batches are parts of a whole batch")
        elif isinstance(layer, BatchNorm):
            if layer.combine is not None:
                _check.accumulates(place, layer, "whose combine is in use")
            if layer.corrects:
                _check.accumulates(place, layer, "whose output depends on running statistics")
            regularizers = ("gamma_regularizer", "beta_regularizer")
            if any(getattr(layer, name, None) is not None for name in regularizers):
                _check.accumulates(place, layer, "whose regularizer would count for each part")
        elif list(layer.own_buffers()):
            _check.accumulates(place, layer, "whose buffers change with each part of a batch")


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


def of_one(model: Module, criterion: Any, batches: Sequence[Samples]) -> Step:
    """The gradients of one batch."""
    (batch,) = batches
    with core.Transaction():
        out = forward(model, batch.x)
        loss, count = finite_loss_of(criterion, out, batch)
    backward(model, criterion.backward())
    return Step(loss, count, [out])


def of_parts(model: Module, criterion: Any, batches: Sequence[Samples]) -> Step:
    """The gradients of several batches, one after the other, which needs the memory of one.

    Sums of the losses have no denominator that all parts must know; the mean's is divided by at the
    end.
    """
    mean = criterion.reduction == "mean"
    total, counts, outputs = 0.0, 0.0, []
    for batch in batches:
        out = forward(model, batch.x)
        loss, count = finite_loss_of(criterion, out, batch)
        backward(model, criterion.backward(count if mean else 1.0))
        if count:
            total += loss * count if mean else loss
        counts += count
        outputs.append(out)
    if mean and counts:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= counts
        total /= counts
    return Step(total if counts else math.nan, counts, outputs)


def in_lockstep(model: Module, criterion: Any, batches: Sequence[Samples]) -> Step:
    """The gradients of several batches whose normalizations take the statistics of all together.

    What the layers keep for the backward pass is that of all batches.
    """
    frames: list[dict[Any, Any]] = [{} for _ in batches]
    with meeting_at(_meeting_places(model), len(batches)) as meeting:
        with core.Transaction():
            xs = [batch.x for batch in batches]
            outputs: list[Array] = _in_frames(meeting, forward, model, frames, xs)
            whole = together(batches)
            loss, count = finite_loss_of(criterion, np.concatenate(outputs), whole)
        ends = np.cumsum([len(out) for out in outputs])[:-1]
        douts = np.split(criterion.backward(), ends)
        _in_frames(meeting, backward, model, frames, douts)
    return Step(loss, count, outputs)


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
