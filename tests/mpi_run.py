"""What one rank of a run under mpiexec does; `test_mpi` starts it with the name of a function."""

import os
import signal
import sys
import threading
import time

import numpy as np
from mpi4py import MPI

import bn
from bn import nn

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.rank, COMM.size
LAST = RANK == SIZE - 1
TIMEOUT = 1.0


def tell(text):
    """Write a line in one piece, so that those of several ranks do not mix."""
    os.write(1, f"rank {RANK}: {text}\n".encode())


def part_of(x):
    """Return this rank's part, where the last of several ranks has none."""
    parts = np.array_split(x, max(1, SIZE - 1))
    return parts[RANK] if len(parts) > RANK else x[:0]


def whole():
    """All ranks have the results of one process on the whole batch, and the same bits."""
    for channels in (3, 400):  # one exchange for each call, or two
        x, dy = np.random.default_rng(0).standard_normal((2, 12, channels))
        alone, layer = (bn.BatchNorm1d(channels, dtype="f8") for _ in range(2))
        y, dx = alone(x), alone.backward(dy)
        bn.synchronize(layer, COMM, timeout=30)
        np.testing.assert_allclose(layer(part_of(x)), part_of(y), rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(layer.backward(part_of(dy)), part_of(dx), rtol=1e-11, atol=1e-11)
        running = layer.running_mean.tobytes() + layer.running_var.tobytes()
        assert COMM.allgather(running) == [running] * SIZE
    tell("whole")


def groups():
    """Groups of two ranks normalize together, while all average their gradients."""
    group = COMM.Split(RANK // 2, RANK)
    model = nn.Sequential(nn.Linear(3, 4, rng=0), bn.BatchNorm1d(4), nn.Linear(4, 2, rng=1))
    parallel = nn.DataParallel(bn.synchronize(model, group, timeout=30), COMM, timeout=30)
    x = np.random.default_rng(RANK).standard_normal((8, 3)).astype(np.float32)
    means = []
    model[1].register_forward_hook(lambda layer, x, y: means.append(y.mean(0)))
    with parallel:
        parallel.gradients(nn.CrossEntropyLoss(), x, np.arange(8) % 2)
        parallel.check_alike()
        of_group = sum(group.allgather(means[0])) / group.size
        np.testing.assert_allclose(of_group, 0, atol=1e-6)
        assert SIZE <= 2 or np.abs(means[0]).max() > 1e-3
    tell("groups")


def model_of(channels, comm=COMM):
    layers = bn.BatchNorm1d(3), nn.Linear(3, channels, rng=0), bn.BatchNorm1d(None)
    return bn.synchronize(nn.Sequential(*layers), comm, timeout=TIMEOUT)


def call(model):
    """Call a model, and tell what comes of it, if it is no output."""
    try:
        model(np.random.default_rng(RANK).standard_normal((8, 3)).astype(np.float32))
    except (bn.SyncError, KeyboardInterrupt) as error:
        tell(f"{type(error).__name__}: {error}; mean {model[0].running_mean}")


def channels_differ():
    model = model_of(300 + RANK)
    call(model)
    call(model)  # at once


def skipped():
    """The last rank is elsewhere."""
    if LAST:
        time.sleep(30)
    call(model_of(3))


def late():
    """The last rank comes when the others have begun to ask where it is."""
    COMM.Barrier()
    if LAST:
        time.sleep(TIMEOUT + 0.4)
    call(model_of(3))


def killed():
    model = model_of(3)
    call(model)
    if LAST:
        os.kill(os.getpid(), signal.SIGKILL)
    call(model)


def failed():
    """The last rank fails between two calls."""
    model = model_of(3)
    try:
        with bn.synchronized(COMM, timeout=TIMEOUT):
            model(np.eye(4, 3, dtype=np.float32))
            if LAST:
                raise ValueError("no such file")
            call(model)
    except ValueError as error:
        tell(f"ValueError: {error}")


def uncaught():
    """The last rank ends with an exception, outside of a block that would tell the others."""
    if LAST:
        raise ValueError("no such file")
    call(model_of(3))


def freed():
    comm = COMM.Split()
    model = model_of(3, comm)
    if LAST:
        comm.Free()
    call(model)


def interrupted():
    """The first rank gets Ctrl-C while it waits for the last one."""
    if LAST:
        time.sleep(30)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    call(model_of(3))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
