"""What each process of a run with ``torch.distributed`` does, and how a run is made."""

import os
import tempfile

import torch
from torch import distributed, multiprocessing

import bn
import bn.torch


def data():
    """Return x and dy of the whole batch."""
    random = torch.Generator().manual_seed(0)
    return torch.randn(2, 8, 4, 3, 3, generator=random, dtype=torch.float64)


def run(function, parts):
    """Return what a function gives on ranks that each have a part of the batch."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = (function, parts, folder)
        multiprocessing.spawn(one_rank, arguments, len(parts))
        return [torch.load(f"{folder}/{rank}", weights_only=True) for rank in range(len(parts))]


def one_rank(rank, function, parts, folder):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/ranks", rank=rank, world_size=len(parts)
    )
    torch.save(function(rank, *parts[rank]), f"{folder}/{rank}")
    distributed.barrier()
    os._exit(0)  # gloo's own end aborts now and then after a call that ran out of time


def normalized(rank, begin, end):
    """Return what a layer computes, and its state."""
    x, dy = data()[:, begin:end]
    x = x.clone().requires_grad_()
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(4)).double()
    layer = bn.torch.SyncBatchNorm.convert_sync_batchnorm(model)[0]
    y = layer(x)
    y.backward(dy)
    gradients = (x.grad, layer.weight.grad, layer.bias.grad)
    return y.detach(), *gradients, layer.running_mean, layer.running_var


def heard(layer):
    """Return what a rank hears from a layer's call."""
    try:
        layer(data()[0])
    except bn.SyncError as error:
        return str(error)
    return ""


def failures(rank, begin, end):
    """Return what ranks hear if one does not call a layer, and if each calls another one."""

    def converted(**options):
        layers = {"first": torch.nn.BatchNorm2d(4), "last": torch.nn.BatchNorm2d(4)}
        model = torch.nn.ModuleDict(layers)
        return list(bn.torch.SyncBatchNorm.convert_sync_batchnorm(model, **options).values())

    layers = converted(process_group=distributed.new_group(), timeout=1)
    if rank == 0:
        alone = heard(layers[0])
        distributed.barrier()
    else:
        distributed.barrier()
        alone = heard(layers[0])  # too late, but gloo cannot end while something is on its way
    return alone, heard(converted()[rank])
