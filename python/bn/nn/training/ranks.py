"""A training's ranks: one, or several whose parts of a batch make one step together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np

from bn import _check
from bn._core import core
from bn.distributed.synchronize import ranks_taken, synchronize
from bn.distributed.team import Team, digest_of, put_back
from bn.layers.batch_norm import batch_norms
from bn.module import Module
from bn.nn.training.finite import cause
from bn.nn.training.loader import BatchLoader, Samples
from bn.nn.training.metrics import Totals
from bn.nn.training.resuming import generators_of
from bn.nn.training.steps import (
    NotFinite,
    Step,
    Task,
    backward,
    bound_to_batches,
    forward,
    gradients_of,
    loss_of,
)
from bn.nn.training.tree import put_together, taken_apart
from bn.types import Array

FROM_LOSS = "all outputs of layers are finite, so that it comes from the loss or its targets"


class OneRank:
    """A training in one process.

    Parameters
    ----------
    model : Module
    criterion : callable
    accumulate : int
        The number of batches whose gradients make one step.
    """

    rank, size, first = 0, 1, True

    def __init__(self, model: Module, criterion: Any, accumulate: int) -> None:
        self.gradients: Callable[[Task, Sequence[Samples]], Step] = gradients_of(
            model, criterion, accumulate
        )

    def merged(self, totals: Totals) -> Totals:
        """The totals of all ranks."""
        return totals

    def any(self, *flags: bool) -> Sequence[bool]:
        """Which flags are set on some rank."""
        return flags

    def check_alike(self) -> None:
        """Check that all ranks have the same parameters and running statistics."""

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Check that all ranks train in the same way."""

    def cause(self, model: Module, batches: Sequence[Samples], before: Mapping[Any, Any]) -> str:
        """Where the first number that is not finite comes from."""
        return cause(model, batches, before) or FROM_LOSS

    def close(self) -> None:
        """Let the model be as it was."""

    def stand_together(self) -> None:
        """Know that the exception that follows comes on all ranks, so that none is told."""

    def state_dict(self) -> dict[str, Any]:
        """What a file has of it, whatever the number of ranks."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from it."""


class ManyRanks:
    """A training of several ranks: each has a copy of the model, and its part of each batch.

    Parameters
    ----------
    team : Team
    model : Module
        Built, with the same structure on all ranks. It gets the state of rank 0, and its batch
        normalizations take the statistics of all ranks until `close`. If all of them have a
        `combine` already, they keep it: they may take the statistics of a group of ranks.
    """

    def __init__(self, team: Team, model: Module) -> None:
        self.team, self.model = team, model
        self.rank, self.size, self.first = team.rank, team.size, team.first
        for place, layer, reason in bound_to_batches(model):
            _check.trains_in_parts(place, layer, reason)
        self._generators = list(dict.fromkeys(each for _, each in generators_of(model)))
        structure = digest_of(list(model.named_state()), values=False)
        team.check_same("the model's structure", "the same model", structure)
        for _, array in model.named_state():
            team.from_first("the model's state", array)
        seeds = np.array([each.integers(2**63) for each in self._generators], np.int64)
        team.from_first("seeds", seeds)
        self.seeds: list[int] = seeds.tolist()
        self.steps = 0
        self._synchronizes = any(layer.combine is None for _, layer in batch_norms(model))
        if self._synchronizes:
            synchronize(model, team.comm, timeout=team.timeout)
        self._of_groups = [
            array
            for _, layer in batch_norms(model)
            if ranks_taken(layer) != team.size
            for _, array in layer.own_buffers()
        ]

    def close(self) -> None:
        """Let batch normalizations be as they were."""
        if self._synchronizes:
            synchronize(self.model, None)

    def stand_together(self) -> None:
        """Know that the exception that follows comes on all ranks, so that none is told."""
        self.team.agreed = True

    def share_order(self, loader: BatchLoader) -> None:
        """Let a loader draw the samples in the order of rank 0's."""
        arrays: dict[str, Array] = {}
        told = taken_apart(loader.state_dict(), "loader", arrays)
        told = self.team.state_of_first("the order of samples", told)
        for array in arrays.values():
            self.team.from_first("the order of samples", array)
        loader.load_state_dict(put_together(told, arrays))

    def gradients(self, task: Task, batches: Sequence[Samples]) -> Step:
        """The gradients of the batch whose parts the ranks have.

        A part may have no samples; its rank then takes part in what layers do together.
        """
        (batch,) = batches
        self._draw()
        with core.Transaction():
            out = forward(task.model, batch.x)
            own = Totals(task.metrics)
            if len(batch):
                own = task.totals(*loss_of(task.criterion, out, batch), [(out, batch)])
            whole = self.merged(own)
            summed = task.criterion.reduction == "sum"
            loss = whole.sums["loss"] if summed else whole.mean("loss")
            if whole.counts["loss"] and not math.isfinite(loss):
                raise NotFinite(loss)
        self.steps += 1
        share = 1.0
        if not summed and whole.counts["loss"]:
            share = own.counts["loss"] / whole.counts["loss"]
        dout = task.criterion.backward(share) if len(batch) else np.zeros_like(out)
        backward(task.model, dout)
        self._sum_gradients(task.model)
        self._average_running_statistics()
        return Step(loss, whole)

    def _draw(self) -> None:
        """Let the layers of this rank have random numbers of their own in this step.

        They depend on the seed, the step and the rank alone, so that a file needs no state of each
        rank, and any number of ranks can go on with it.
        """
        for seed, generator in zip(self.seeds, self._generators, strict=True):
            kind = type(generator.bit_generator)
            sequence = np.random.SeedSequence(seed, spawn_key=(self.steps, self.rank))
            generator.bit_generator.state = kind(sequence).state

    def _sum_gradients(self, model: Module) -> None:
        parameters = model.parameters()
        flags = [parameter.grad is not None for parameter in parameters]
        somewhere = self.team.any("which parameters have gradients", flags)
        found = [p for p, wanted in zip(parameters, somewhere, strict=True) if wanted]
        for parameter in found:
            if parameter.grad is None:
                parameter.grad = np.zeros_like(parameter.data)
        self.team.sum_all("gradients", [p.grad for p in found if p.grad is not None])

    def _average_running_statistics(self) -> None:
        """Let the running statistics that groups of ranks have become those of all ranks.

        They are moving averages, so that the mean of those of the ranks is what the mean of the
        ranks' statistics would have given. Equal values stay as they are to the last bit.
        """
        if not self._of_groups:
            return
        own = np.concatenate([array.ravel() for array in self._of_groups]).astype(np.float64)
        rows = self.team.gather("running statistics", own)
        put_back(rows[0] + (rows - rows[0]).mean(axis=0), self._of_groups)

    def merged(self, totals: Totals) -> Totals:
        """The totals of all ranks."""
        names = list(totals.sums)
        own = [*totals.sums.values(), *totals.counts.values(), totals.samples]
        values = self.team.sum("losses and metrics", np.array(own, np.float64)).tolist()
        whole = Totals(())
        whole.sums = dict(zip(names, values, strict=False))
        whole.counts = dict(zip(names, values[len(names) :], strict=False))
        whole.samples = int(values[-1])
        return whole

    def any(self, *flags: bool) -> Sequence[bool]:
        """Which flags are set on some rank."""
        return self.team.any("whether to stop", flags)

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Check that all ranks train in the same way."""
        team = self.team
        team.check_same("names of settings", "the same settings", checksum(sorted(settings)))
        if team.differ("settings", checksum(sorted(settings.items()))):
            for name, value in sorted(settings.items()):
                team.check_same(f"the setting {name}", f"the same {name}", checksum(value))

    def check_alike(self) -> None:
        """Check that all ranks have the same parameters and running statistics."""
        digest = digest_of(list(self.model.named_state()), values=True)
        self.team.check_same("the checksum of the model", "the same parameters", digest)

    def cause(self, model: Module, batches: Sequence[Samples], before: Mapping[Any, Any]) -> str:
        """Where the first number that is not finite comes from, on each rank by itself.

        All ranks have come here, because they all know the loss.
        """
        self._draw()
        filled = [batch for batch in batches if len(batch)]
        with alone(model):
            own = cause(model, filled, {}) if filled else None
        texts = self.team.texts("what is not finite", own or "")
        self.stand_together()
        found = [f"on rank {rank}, {text}" for rank, text in enumerate(texts) if text]
        return "; ".join(found) or FROM_LOSS

    def state_dict(self) -> dict[str, Any]:
        """What a file has of it, whatever the number of ranks."""
        return {"seeds": self.seeds, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from it; a training of one rank has none."""
        if state:
            self.seeds, self.steps = list(state["seeds"]), int(state["steps"])


@contextmanager
def alone(model: Module) -> Iterator[None]:
    """Within it, batch normalizations take the statistics of this rank's batch."""
    before = [(layer, layer.combine) for _, layer in batch_norms(model)]
    for layer, _ in before:
        layer.combine = lambda part: part
    try:
        yield
    finally:
        for layer, combine in before:
            layer.combine = combine


def checksum(value: object) -> bytes:
    """A checksum of a value's repr."""
    return blake2b(repr(value).encode(), digest_size=16).digest()
