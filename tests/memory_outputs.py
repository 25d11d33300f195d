"""These helpers make outputs of bn, which the tests of recycled memory look at."""

import numpy as np
import pytest

import bn

try:
    from numpy._core.multiarray import get_handler_name
except ModuleNotFoundError:  # NumPy 1
    from numpy.core.multiarray import get_handler_name  # noqa: F401

SHAPE = (8, 16, 64, 64)  # 2 MiB of float32
LIMIT = 2**28
SPARE = 2**16 + 128  # bytes that a block may have more than the output in it


@pytest.fixture(autouse=True)
def fresh_memory():
    """No memory waits before and after any test of the module that imports this."""
    bn.memory.trim()
    bn.memory.set_limit(LIMIT)
    yield
    bn.memory.set_limit(None)
    bn.memory.trim()


def output(shape=SHAPE, fill=0, dtype=np.float32):
    """Make an output of bn that holds `fill` everywhere."""
    channels = shape[1]
    y = bn.normalize(np.ones(shape, dtype), np.ones(channels), np.ones(channels))
    y.fill(fill)
    return y


def address(a):
    return a.__array_interface__["data"][0]


def columns(nbytes):
    """Return the shape of float32 with one channel and this many bytes."""
    return (nbytes // 4, 1)


def one_piece(nbytes=2**25):
    """Let one piece of memory wait, of which the outputs that follow are cut in their order."""
    bn.memory.trim()
    y = output(columns(nbytes))
    del y
