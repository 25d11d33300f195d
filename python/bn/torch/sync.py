"""Batch normalization over the processes of ``torch.distributed``, on CPUs."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from numpy import float64
from torch import distributed

from bn import _check, functional
from bn.distributed.exchange import exchange_over
from bn.distributed.synchronize import Synchronization
from bn.statistics import BackwardSums
from bn.torch.arrays import vector_of
from bn.torch.functional import as_parameter, final
from bn.torch.modules import Batches, BatchNormAddReLU2d, BatchNormReLU2d
from bn.torch.passes import update, wide
from bn.torch.team import on_team
from bn.types import Array

SECOND = "SyncBatchNorm has gradients of first order, got a call for the second"
SENT = np.dtype(float64)  # what the ranks exchange


class Communicator:
    """The transport of `bn.synchronize` on a process group of ``torch.distributed``.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, optional
        With tensors on CPUs, such as gloo's; None is the group of all processes.

    Attributes
    ----------
    rank, size : int

    References
    ----------
    PyTorch, "Distributed communication package".

    Examples
    --------
    >>> comm = Communicator()  # doctest: +SKIP
    >>> comm.allgather(np.array([comm.rank]), timeout=5)  # with 2 ranks  # doctest: +SKIP
    array([[0],
           [1]])
    """

    def __init__(self, group: Any = None) -> None:
        self._group = distributed.group.WORLD if group is None else group
        self.rank: int = distributed.get_rank(self._group)
        self.size: int = distributed.get_world_size(self._group)

    def allgather(self, buffer: Array, timeout: float) -> Array:
        """Send a buffer to all ranks, and wait for theirs; see `bn.distributed.Communicator`."""
        received = np.empty((self.size, buffer.size), buffer.dtype)
        rows = list(torch.from_numpy(received).unbind())
        sent = torch.from_numpy(buffer)
        work = distributed.all_gather(rows, sent, group=self._group, async_op=True)
        try:
            work.wait(timedelta(seconds=timeout))
        except RuntimeError as error:
            raise TimeoutError(_check.no_answer(timeout, error)) from error
        return received


@functools.cache
def communicator_of(group: Any) -> Communicator:
    """The communicator of a process group; it is one, because its exchanges are counted."""
    return Communicator(group)


# The exchanges between these passes leave the threads alone.
stats, normalize = on_team(functional.stats), on_team(functional.normalize)
backward_reduce = on_team(functional.backward_reduce)
backward_apply = on_team(functional.backward_apply)


class SynchronizedNormalization(torch.autograd.Function):
    """Normalization with the statistics of all ranks' batches, and its gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *others: Any) -> Any:
        weight, bias, running_mean, running_var, momentum, eps, combine = others
        batch = combine(stats(wide(x)))
        if running_mean is not None and batch.count.any():
            update(running_mean, running_var, (batch.count, batch.mean, batch.m2), momentum)
        y = normalize(wide(x), batch.mean, batch.var, vector_of(weight), vector_of(bias), eps)
        ctx.save_for_backward(x, weight, bias)
        ctx.batch, ctx.eps, ctx.combine = batch, eps, combine
        return torch.from_numpy(y).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        batch, g = ctx.batch, wide(dy)
        own = backward_reduce(g, wide(x), batch.mean)
        whole = ctx.combine(own)
        sums = BackwardSums(batch.count, whole.dy, whole.dy_xmu)
        constants = (batch.mean, batch.var, vector_of(weight), ctx.eps, sums)
        dx = torch.from_numpy(backward_apply(g, wide(x), *constants)).to(x.dtype)
        dweight = as_parameter(own.dweight(batch.var, ctx.eps), weight)
        found = (dx, dweight, as_parameter(own.dbias, bias))
        return *final(SECOND, found, dy, x, weight), *[None] * 5


class SyncBatchNorm(Batches, torch.nn.SyncBatchNorm):
    """``torch.nn.SyncBatchNorm`` for processes on CPUs, which PyTorch's refuses.

    The batch is that of all ranks of the process group, whatever part of it each one has: the
    statistics of the parts are merged exactly, in the order of the ranks, in float64. So all ranks
    get the same bits of running statistics. A part may be empty. The gradients of weight and bias
    are those of the rank's part, as ``DistributedDataParallel`` expects them.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, process_group, device, dtype, bias
        As in ``torch.nn.SyncBatchNorm``.

    Attributes
    ----------
    timeout : float
        How many seconds a rank waits for others; 300 unless it is set. A shorter timeout of the
        process group holds too.
    path : str
        The layer's name in its model, by which the ranks tell layers apart and messages name them;
        empty for a layer that `convert_sync_batchnorm` did not make.

    Raises
    ------
    bn.SyncError
        From the calls: a rank makes another call, has failed or does not answer.

    Notes
    -----
    In eval mode, and without a process group, it is a batch normalization like others.

    References
    ----------
    Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances", 1979.

    Examples
    --------
    >>> import torch
    >>> SyncBatchNorm(1, affine=False)(torch.tensor([[1.0], [3.0]]))
    tensor([[-1.0000],
            [ 1.0000]])
    """

    timeout = 300.0
    path = ""

    @torch.compiler.disable
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalize x, together with the other ranks in training."""
        self._check_input_dim(x)
        if not self.training or not distributed.is_available() or not distributed.is_initialized():
            return self.then(x)
        if not x.is_cpu:
            return torch.nn.SyncBatchNorm.forward(self, x)
        comm = communicator_of(self.process_group or distributed.group.WORLD)
        if comm.size == 1:
            return self.then(x)
        running, _, momentum = self.statistics()
        exchange = exchange_over(comm, self.timeout)
        combine = Synchronization(exchange, self.path or type(self).__name__, SENT)
        settings = (momentum, self.eps, combine)
        return SynchronizedNormalization.apply(x, self.weight, self.bias, *running, *settings)

    @classmethod
    def convert_sync_batchnorm(
        cls, module: torch.nn.Module, process_group: Any = None, timeout: float = 300.0
    ) -> torch.nn.Module:
        """As the method of ``torch.nn.SyncBatchNorm``, with layers of this class.

        Parameters
        ----------
        module : torch.nn.Module
        process_group : torch.distributed.ProcessGroup, optional
        timeout : float, default 300
            The attribute of the layers, whose `path` is set too.

        Returns
        -------
        torch.nn.Module

        Raises
        ------
        TypeError
            A layer applies a ReLU in its pass, which would be lost.
        ValueError
            `timeout` is no positive number.
        """
        _check.timeout(timeout)
        for path, layer in module.named_modules():
            if isinstance(layer, BatchNormReLU2d | BatchNormAddReLU2d):
                raise _check.not_synchronizable(path, type(layer).__name__)
        module = torch.nn.SyncBatchNorm.convert_sync_batchnorm(module, process_group)
        for path, layer in module.named_modules():
            if type(layer) is torch.nn.SyncBatchNorm:
                layer.__class__, layer.path, layer.timeout = cls, path, timeout
        return module
