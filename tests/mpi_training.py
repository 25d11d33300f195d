"""What one rank of a training under mpiexec does; `test_mpi_training` starts it."""

import os
import signal
import sys

import numpy as np

import bn
from bn import nn
from bn.nn.training import resuming

COMM = None  # of the processes of mpiexec


def last():
    return COMM is not None and COMM.rank == COMM.size - 1


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((37, 1, 6, 6)), rng.integers(0, 3, 37)


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, rng=0, dtype="f8"), bn.BatchNorm2d(4, dtype="f8"), nn.ReLU(),
        nn.Flatten(), nn.Linear(64, 3, rng=1, dtype="f8"),
    )  # fmt: skip


def train(model, comm=None, **options):
    optimizer = nn.SGD(model.parameters(), lr=0.1, momentum=0.9)
    given = {"epochs": 3, "batch_size": 9, "rng": 5, "optimizer": optimizer, "progress": False}
    return nn.fit(model, data(), comm=comm, timeout=10, **{**given, **options})


class AtStep(nn.Callback):
    """Do something on the last rank after some step."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_batch_end(self, state):
        if last() and state.step == self.step:
            self.act()


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def whole(path):
    """Train, and let rank 0 save the parameters."""
    model = network()
    train(model, COMM)
    if COMM.rank == 0:
        nn.save(path, model)


def killed_in_forward(path):
    model, calls = network(), []

    def hook(layer, x, y):
        calls.append(y)
        if last() and len(calls) == 7:
            kill()

    model[2].register_forward_hook(hook)
    train(model, COMM, checkpoint=path, save_every=1)


def at_call(name, act):
    """Let the seventh call of a method of the loss do something before, on the last rank."""
    method, calls = getattr(nn.CrossEntropyLoss, name), []

    def changed(self, *args, **options):
        calls.append(args)
        if last() and len(calls) == 7:
            act()
        return method(self, *args, **options)

    setattr(nn.CrossEntropyLoss, name, changed)


def killed_in_backward(path):
    at_call("backward", kill)
    train(network(), COMM, checkpoint=path, save_every=1)


def killed_while_saving(path):
    """Rank 0 is killed when half of the file is written."""
    write, saves = resuming.write, []

    def half(file, arrays):
        saves.append(file)
        if len(saves) == 7:
            file.write(b"PK half a file")
            file.flush()
            kill()
        write(file, arrays)

    resuming.write = half
    train(network(), COMM, checkpoint=path, save_every=1)


def interrupted(path):
    """The last rank gets Ctrl-C."""
    ask = AtStep(7, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        train(network(), COMM, checkpoint=path, callbacks=[ask])
    except KeyboardInterrupt:
        os.write(1, f"rank {COMM.rank} stopped\n".encode())


def failed(path):
    def fail():
        raise OSError("cannot read image 12")

    at_call("__call__", fail)
    train(network(), COMM, checkpoint=path, save_every=1)


if __name__ == "__main__":
    from mpi4py import MPI

    COMM = MPI.COMM_WORLD
    globals()[sys.argv[1]](sys.argv[2])
