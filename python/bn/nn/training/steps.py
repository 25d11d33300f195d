"""The gradients of one step: of a batch, or of several batches as if they were one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from bn import _check
from bn._core import core
from bn.layers.batch_norm import BatchNorm, batch_norms
from bn.layers.ghost import GhostBatchNorm
from bn.module import Module
from bn.nn.reduction import Loss
from bn.nn.training.loader import Batch
from bn.nn.training.lockstep import Meeting, counted_once, meeting_at
from bn.recording.kept import frame_of
from bn.recording.record import takes_input_grad
from bn.types import Array

Outputs = list[Array]
Gradients = Callable[[Module, Any, Sequence[Batch]], tuple[float, Outputs]]


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
        ``gradients(model, criterion, batches)`` returns the loss and the outputs of the batches. If
        the loss is not finite, it raises `NotFinite`, and running statistics stay.
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
            if layer.combining() is not None:
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


def forward(model: Module, x: Array) -> Array:
    out: Array = model(x)
    _check.one_output(out)
    return out


def backward(model: Module, dout: Array) -> None:
    """The backward pass without the gradient of the input, where that can be left out."""
    if takes_input_grad(type(model).backward) or model.records:
        model.backward(dout, input_grad=False)
    else:
        model.backward(dout)


def loss_of(criterion: Any, out: Array, y: Array) -> float:
    loss = _check.one_loss(criterion(out, y))
    if not math.isfinite(loss):
        raise NotFinite(loss)
    return loss


def of_one(model: Module, criterion: Any, batches: Sequence[Batch]) -> tuple[float, Outputs]:
    """The gradients of one batch."""
    ((x, y),) = batches
    with core.Transaction():
        out = forward(model, x)
        loss = loss_of(criterion, out, y)
    backward(model, criterion.backward())
    return loss, [out]


def of_parts(model: Module, criterion: Any, batches: Sequence[Batch]) -> tuple[float, Outputs]:
    """The gradients of several batches, one after the other, which needs the memory of one.

    Sums of the losses have no denominator that all parts must know; the mean's is divided by at the
    end. A part of which no target counts adds nothing.
    """
    mean = criterion.reduction == "mean"
    total, count, outputs = 0.0, 0.0, []
    for x, y in batches:
        out = forward(model, x)
        loss = _check.one_loss(criterion(out, y))
        own = criterion.count if mean else 1.0
        if not math.isfinite(loss) and own:
            raise NotFinite(loss)
        backward(model, criterion.backward(own))
        total, count = total + (loss * own if own else 0.0), count + own
        outputs.append(out)
    if not count:
        raise NotFinite(math.nan)
    if mean:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= count
        total /= count
    return total, outputs


def in_lockstep(model: Module, criterion: Any, batches: Sequence[Batch]) -> tuple[float, Outputs]:
    """The gradients of several batches whose normalizations take the statistics of all together.

    What the layers keep for the backward pass is that of all batches.
    """
    frames: list[dict[Any, Any]] = [{} for _ in batches]
    with meeting_at(_meeting_places(model), len(batches)) as meeting:
        with core.Transaction():
            outputs: Outputs = _in_frames(meeting, forward, model, frames, [x for x, _ in batches])
            loss = loss_of(
                criterion, np.concatenate(outputs), np.concatenate([y for _, y in batches])
            )
        ends = np.cumsum([len(out) for out in outputs])[:-1]
        douts = np.split(criterion.backward(), ends)
        _in_frames(meeting, backward, model, frames, douts)
    return loss, outputs


def _in_frames(
    meeting: Meeting,
    function: Callable[[Module, Array], Any],
    model: Module,
    frames: Sequence[dict[Any, Any]],
    arrays: Sequence[Array],
) -> list[Any]:
    """The results of a function for each part, whose layers keep in the part's own frame."""

    def part(number: int) -> Any:
        with frame_of(frames[number]):
            return function(model, arrays[number])

    return meeting.run([counted_once(i, partial(part, i)) for i in range(len(arrays))])
