"""`recalibrate`: running statistics that are exactly those of given data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import length_hint
from typing import Any, TypeVar

import numpy as np

from bn import _check
from bn.distributed.synchronize import ranks_taken
from bn.distributed.team import Team, team_of
from bn.functional import merge
from bn.inputs import call_with
from bn.layers import no_stat_update, watching
from bn.layers.batch_norm import BatchNorm, batch_norms
from bn.module import Module, copy_all, unchanged
from bn.statistics import Stats
from bn.types import Array

Model = TypeVar("Model", bound=Module)
Progress = bool | Callable[[int], object] | None


def recalibrate(
    model: Model,
    batches: Iterable[Any],
    *,
    progress: Progress = None,
    comm: Any = None,
    timeout: float = 60.0,
) -> Model:
    """Set all running statistics to the exact ones of the layers' inputs over all batches.

    Batches of any sizes are pooled exactly, in float64 (batch b has M_b values per channel):
    ``mean = Σ M_b·mean_b / M`` and ``m2 = Σ (m2_b + M_b·(mean_b - mean)²)``, with M = Σ M_b.
    ``running_mean = mean``, and ``running_var`` is the estimate that the layer keeps in training:
    m2 / (M - 1) for PyTorch's layers, m2 / M for Keras's.

    It is one pass in which the batch normalization layers normalize with their batch's statistics,
    as in training, whatever mode they are in; all other layers run in the mode they are in. So
    call ``model.eval()`` before to switch dropout off.

    Parameters
    ----------
    model : Module
        With any number of batch normalization layers; one that is called several times pools all
        its calls. Without any there is nothing to do, and `batches` is not read.
    batches : iterable of ndarray, or of tuple or list
        Inputs x of the model, or (x, ...), of which the rest is ignored. Read once. An x may be a
        tuple or a dict of several arrays inside such a tuple.
    progress : bool, callable or None, default None
        True shows a bar on standard error (by rich); a function is called after each batch with
        the number of batches so far; None and False show nothing.
    comm : mpi4py communicator or bn.distributed.Communicator, optional
        Pool the batches of all ranks, each of which has batches of its own, any number of them.
    timeout : float
        How many seconds to wait for other ranks.

    Returns
    -------
    Module
        `model`.

    Raises
    ------
    ValueError
        There is no batch, a layer's input has NaN or infinity (the message names the layer), or a
        batch gives a layer a single value per channel.
    TypeError
        An argument is not as above.
    ImportError
        ``progress=True`` without rich.
    SyncError
        Another rank has failed, has another model, or does not answer.

    Notes
    -----
    Only the running statistics change; ``num_batches_tracked``, modes, parameters, gradients and
    what layers keep for backward stay as they are. After an error nothing has changed. (Layers
    that draw random numbers in training mode have drawn them.) A layer that got no values keeps its
    statistics, and so does one that takes none in training, because it is frozen for instance.
    In batch renormalization the averages that it corrects towards stay, too.

    References
    ----------
    Wu & Johnson, "Rethinking 'Batch' in BatchNorm", 2021, section 3 (PreciseBN).
    ``torch.optim.swa_utils.update_bn`` averages over batches with equal weights instead.

    Examples
    --------
    >>> from bn import BatchNorm1d, nn
    >>> model = nn.Sequential(BatchNorm1d(1)).eval()
    >>> batches = np.array([[1.0], [2.0]]), np.array([[3.0], [4.0], [5.0]])
    >>> layer = recalibrate(model, batches)[0]
    >>> layer.running_mean, layer.running_var
    (array([3.], dtype=float32), array([2.5], dtype=float32))
    """
    _check.instance("model", model, Module)
    _check.batch_source(batches)
    _check.progress(progress)
    pools = {id(layer): _Pool(layer) for _, layer in batch_norms(model)}
    if not pools:
        return model

    def add(path: str, layer: BatchNorm, x: Array, y: Array, batch: Stats) -> None:
        pools[id(layer)].add(path, batch)

    done = 0
    with (
        team_of(comm, timeout) as team,
        unchanged(model),
        watching(model, add),
        no_stat_update(),
        _display(progress, length_hint(batches)) as show,
    ):
        for pool in pools.values():
            pool.layer.training, pool.layer.update_stats = True, False
        for done, batch in enumerate(batches, 1):
            call_with(model, _check.batch_input(batch))
            show(done)
        if team is not None:
            done = int(team.sum("batches", np.array([done]))[0])
            for (path, layer), pool in zip(batch_norms(model), pools.values(), strict=True):
                pool.share(team, path, layer.num_features)
        _check.some_batches(done)
        expected = [pool for pool in pools.values() if pool.lets_in]
        _check.some_layer_ran(len(expected), sum(pool.ran for pool in expected))
    copy_all([pair for pool in pools.values() for pair in pool.values()])
    return model


class _Pool:
    """The statistics of one layer's input, and what they are as its running statistics."""

    def __init__(self, layer: BatchNorm) -> None:
        self.layer = layer
        self.lets_in = layer.lets_in(training=True)
        self.ran = False
        self.stats: Stats | None = None
        if layer.running_mean is not None:
            _check.running(layer.running_mean, layer.running_var, layer.running_mean.size)

    def add(self, path: str, batch: Stats) -> None:
        """Take in what the layer would let into its running statistics."""
        self.ran = True
        if not self.lets_in or not batch.count.any():
            return
        self._take(path, batch if self.stats is None else merge([self.stats, batch]))

    def share(self, team: Team, path: str, channels: int | None) -> None:
        """Take in what the layer got on other ranks.

        A synchronized layer has got what several ranks have, so each of these gives its share.
        """
        own = self.stats
        if own is None:
            own = Stats(*np.zeros((3, channels or 0)))
        ranks = ranks_taken(self.layer)
        own = Stats(own.count / ranks, own.mean, own.m2 / ranks)
        whole = team.merged(f"statistics of layer {path}", own)
        (self.ran,) = team.any(f"whether layer {path} ran", [self.ran])
        if whole.count.any():
            self._take(path, whole)

    def _take(self, path: str, whole: Stats) -> None:
        self.stats = whole
        unbiased = self.layer.convention.unbiased
        with np.errstate(over="ignore"):
            self.mean = self.stats.mean.astype(self.layer.dtype)
            var = self.stats.unbiased_var if unbiased else self.stats.var
            self.var = var.astype(self.layer.dtype)
        _check.finite_statistics(path, self.mean, self.var)

    def values(self) -> list[tuple[Array, Array]]:
        """(array, its new values) of the layer's running statistics."""
        if self.stats is None:
            return []
        self.layer.build_channels(self.stats.count.size)
        return self.layer.running.assigning(self.mean, self.var, self.stats.count > 0)


@contextmanager
def _display(progress: Progress, total: int) -> Iterator[Callable[[int], object]]:
    """The function to call with the number of batches so far."""
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda done: None
    else:
        _check.optional_package("progress=True", "rich")
        from rich.console import Console
        from rich.progress import Progress as Bar

        with Bar(console=Console(stderr=True)) as bar:
            task = bar.add_task("recalibrating", total=total or None)
            yield lambda done: bar.update(task, completed=done)
