"""The fuzz's table of statistics and normalization of data in blocks."""

import dask.array as da
import numpy as np
from fuzz_arrays import BAD_AXES, BAD_DTYPE, BAD_EPS, BAD_FLAG, BAD_VECTOR, FINITE, KINDS
from fuzz_functions import assert_stats, statistics, tensor
from fuzz_law import Case, entries, wide

import bn

TABLE = {}

fuzzed = entries(TABLE)

# What gives no array of blocks whose sizes are known, and whose numbers are floats.
BAD_BLOCKS = [lambda x: 3.5, lambda x: "text", lambda x: x.tolist(), lambda x: x]
BAD_BLOCKS += [lambda x, bad=bad: da.from_array(bad(x)) for bad in BAD_DTYPE[:3]]
BAD_BLOCKS += [lambda x: da.zeros((5, 3))[da.ones(5) > 0], lambda x: da.zeros(5)]


def in_blocks(draw, kinds):
    """Return x, its channel axis, and x as a dask array whose blocks may cut any axis."""
    x, axis = tensor(draw, kinds, high=4)
    x = np.array(x)
    return x, axis, da.from_array(x, tuple(draw.pick([1, 2, max(n, 1)]) * 3 for n in x.shape))


@fuzzed("dask.stats")
def dask_stats(draw):
    x, axis, array = in_blocks(draw, KINDS)
    arguments = {"array": array, "axis": axis}
    case = Case(bn.dask.stats, arguments, lambda found: assert_stats(found, x, axis))
    bad = [lambda _, bad=bad: bad(x) for bad in BAD_BLOCKS]
    return case.spoil(draw, array=bad, axis=BAD_AXES, compute=BAD_FLAG)


@fuzzed("dask.normalize")
def dask_normalize(draw):
    x, axis, array = in_blocks(draw, FINITE)
    mean, var = statistics(draw, x, axis)
    weight, bias = (draw.optional(draw.vector(x.shape[axis])) for _ in range(2))
    options = {"mean": mean, "var": var, "weight": weight, "bias": bias, "eps": 1e-3, "axis": axis}

    def check(y):
        np.testing.assert_array_equal(wide(y.compute()), wide(bn.normalize(x, **options)))

    case = Case(bn.dask.normalize, {"array": array, **options}, check)
    bad = [lambda _, bad=bad: bad(x) for bad in BAD_BLOCKS]
    return case.spoil(draw, array=bad, mean=BAD_VECTOR, var=BAD_VECTOR, eps=BAD_EPS, axis=BAD_AXES)


@fuzzed("stats_of")
def stats_of(draw):
    x, axis = tensor(draw, KINDS)
    case = Case(bn.stats_of, {"data": x, "axis": axis}, lambda found: assert_stats(found, x, axis))
    case.arguments["chunk"] = draw.pick([None, 1, 2, 100])
    return case.spoil(
        draw, data=[None, 3.5, "text", [], lambda x: x.astype(complex), lambda x: x.astype(object)],
        axis=BAD_AXES, chunk=[0, -1, 1.5, "2", True], progress=BAD_FLAG,
    )  # fmt: skip
