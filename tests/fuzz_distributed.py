"""The fuzz's table of what several ranks compute together, which are threads here."""

import numpy as np
from communicators import on_threads
from fuzz_arrays import BAD_NUMBERS, normal
from fuzz_functions import NO_EPILOGUE, assert_dx, assert_normalized, moments
from fuzz_law import Case, entries
from fuzz_layers import RANKS, batch

import bn

TABLE = {}
fuzzed = entries(TABLE)
BAD_TIMEOUT = [*BAD_NUMBERS, None, 0, -1.0]
BAD_COMM = [3, "a", np.ones(2), object(), [1]]


def case_of(draw, synchronized):
    """Cut a batch among ranks; `synchronized(layer, comm, timeout, run)` runs one of them."""
    x = batch(draw, kinds=[normal])
    dy = draw.like(x, [normal])
    size = draw.pick([1, 2, 3])
    cuts = np.sort(draw.rng.integers(0, len(x) + 1, size - 1))
    made = [RANKS[x.ndim](x.shape[1], affine=False) for _ in range(size)]

    def call(model, comm, timeout):
        def rank(own):
            layer = made[own.rank] if model is None else model
            part, dpart = np.split(x, cuts)[own.rank], np.split(dy, cuts)[own.rank]
            other = own if comm is None else comm
            return synchronized(
                layer, other, timeout, lambda: (np.array(layer(part)), layer.backward(dpart))
            )

        found = on_threads(size, rank)
        for each in found:
            if isinstance(each, Exception):
                raise each
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    def check(found):
        _, mean, m2 = moments(x, 1)
        assert_normalized(found[0], x, 1, None, None, 1e-5, None, NO_EPILOGUE)
        assert_dx(found[1], dy, x, 1, mean, m2 / (x.size // x.shape[1]), None, 1e-5)

    return Case(call, {"model": None, "comm": None, "timeout": draw.pick([5, 60.0])}, check)


@fuzzed("synchronize")
def synchronize(draw):
    def synchronized(layer, comm, timeout, run):
        bn.synchronize(layer, comm, timeout=timeout)
        return run()

    case = case_of(draw, synchronized)
    return case.spoil(draw, model=[3, "a", np.ones(2)], comm=BAD_COMM, timeout=BAD_TIMEOUT)


@fuzzed("synchronized")
def synchronized_block(draw):
    def synchronized(layer, comm, timeout, run):
        with bn.synchronized(comm, timeout=timeout):
            return run()

    return case_of(draw, synchronized).spoil(draw, comm=BAD_COMM, timeout=BAD_TIMEOUT)
