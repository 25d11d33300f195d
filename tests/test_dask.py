"""These tests are of `bn.dask`: statistics and normalization of dask arrays, block by block."""

import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import ml_dtypes
import numpy as np
import pytest
from accuracy import assert_moments, assert_same_moments
from bits import of_stats
from dask.delayed import Delayed

import bn

# Blocks that cut the samples, the channels, the pixels, all of them, and none.
CUTS = [(4, 5, 6), (11, 2, 6), (11, 5, 4), (3, 2, 5), (11, 5, 6)]


def values(dtype=np.float64):
    return (np.random.default_rng(0).standard_normal((11, 5, 6)) + 3).astype(dtype)


# ---- statistics ----


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("chunks", CUTS)
def test_statistics_of_blocks_are_those_of_the_whole_array(chunks, axis):
    x = values() + 1000
    found, whole = bn.dask.stats(da.from_array(x, chunks), axis), bn.stats(x, axis)
    np.testing.assert_array_equal(found.count, whole.count)
    np.testing.assert_allclose(found.mean, whole.mean, rtol=0, atol=1e-11)  # the std is about 1
    np.testing.assert_allclose(found.m2, whole.m2, rtol=1e-11)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_statistics_of_blocks_are_as_exact_as_merged_ones_in_every_dtype(dtype):
    x = values(dtype)
    assert_same_moments(bn.dask.stats(da.from_array(x, (4, 2, 3))), bn.stats(x), x)


def test_a_mean_far_from_zero_costs_no_digits_in_float32(rng):
    x = (rng.standard_normal((4000, 3)) + 1e6).astype(np.float32)
    assert_moments(bn.dask.stats(da.from_array(x, (130, 2))), x)


def test_channels_that_blocks_cut_come_back_in_their_order():
    x = np.broadcast_to(np.arange(50.0), (7, 50))
    assert bn.dask.stats(da.from_array(x, (3, 4))).mean.tolist() == list(range(50))


def test_a_block_without_values_and_an_array_without_values_count_nothing():
    x = values()
    joined = da.concatenate([da.from_array(x[:0]), da.from_array(x)])
    assert of_stats(bn.dask.stats(joined)) == of_stats(bn.stats(x))
    assert not bn.dask.stats(da.from_array(x[:0])).count.any()


def test_nan_stays_in_the_statistics_of_its_channel():
    x = values()
    x[3, 2, 1] = np.nan
    found = bn.dask.stats(da.from_array(x, (4, 2, 6)))
    assert np.isnan(found.m2).tolist() == [False, False, True, False, False]


# ---- the same bits ----


def late(block, block_id, seconds):
    """Give a block after a while, which differs between blocks."""
    time.sleep(seconds[sum(block_id)])
    return block


def delayed_blocks(seconds):
    """Return 64 blocks of which each is ready after its number of seconds."""
    x = np.random.default_rng(1).standard_normal((64, 4)).astype(np.float32) + 100
    return da.map_blocks(late, da.from_array(x, (1, 4)), seconds=seconds, dtype=x.dtype)


def test_the_order_in_which_blocks_are_done_changes_no_bit(rng):
    expected = of_stats(bn.dask.stats(delayed_blocks([0] * 64)))
    first_last, any_order = np.linspace(0.01, 0, 64), rng.random(64) * 0.01
    # dask would keep threads of its own for later computations.
    with ThreadPoolExecutor(16) as pool, dask.config.set(scheduler="threads", pool=pool):
        for seconds in (first_last, any_order):
            assert of_stats(bn.dask.stats(delayed_blocks(seconds))) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"scheduler": "synchronous"},
        {"scheduler": "threads", "num_workers": 1},
        {"split_every": 2},
        {"scheduler": "processes", "num_workers": 2},
    ],
    ids=["one after the other", "one thread", "another tree of dask's", "processes"],
)
def test_schedulers_and_settings_of_dask_change_no_bit(options):
    array = da.from_array(values(np.float32), (2, 2, 3))
    expected = of_stats(bn.dask.stats(array))
    with dask.config.set(options):
        assert of_stats(bn.dask.stats(array)) == expected


# ---- normalization ----


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("chunks", CUTS)
def test_normalized_blocks_have_the_bits_of_the_whole_normalized_array(chunks, axis, rng):
    x = values(np.float32)
    whole, channels = bn.stats(x, axis), x.shape[axis]
    weight, bias = rng.standard_normal((2, channels))
    array = da.from_array(x, chunks)
    y = bn.dask.normalize(array, whole.mean, whole.var, weight, bias, 1e-3, axis=axis)
    assert (y.shape, y.dtype, y.chunks) == (array.shape, array.dtype, array.chunks)
    expected = bn.normalize(x, whole.mean, whole.var, weight, bias, 1e-3, axis=axis)
    np.testing.assert_array_equal(y.compute(), expected)


def test_values_of_channels_may_be_dask_arrays_with_other_blocks():
    x, array = values(), da.from_array(values(), (3, 2, 6))
    mean, var = x.mean((0, 2)), x.var((0, 2))
    lazy = da.from_array(mean, 3), da.from_array(var, 1)
    y = bn.dask.normalize(array, *lazy, bias=da.from_array(mean, 5))
    assert y.chunks == array.chunks
    np.testing.assert_array_equal(y.compute(), bn.normalize(x, mean, var, bias=mean))


def test_statistics_that_wait_normalize_in_the_same_computation():
    x, array = values(), da.from_array(values(), (3, 2, 6))
    lazy, whole = bn.dask.stats(array, compute=False), bn.dask.stats(array)
    y = bn.dask.normalize(array, lazy.mean, lazy.var)
    np.testing.assert_array_equal(y.compute(), bn.normalize(x, whole.mean, whole.var))


# ---- nothing is computed too early ----


def fails(block):
    raise AssertionError("a block was computed")


def never(shape=(6, 4), dtype=np.float32, chunks=2):
    """Return an array whose blocks must not be computed."""
    array = da.zeros(shape, chunks=chunks, dtype=dtype)
    return array.map_blocks(fails, dtype=dtype, meta=np.zeros((0,) * len(shape), dtype))


def test_what_waits_computes_nothing():
    array, ones = never(), np.ones(4)
    assert isinstance(bn.dask.stats(array, compute=False), Delayed)
    assert isinstance(bn.dask.normalize(array, ones, ones), da.Array)
    with pytest.raises(AssertionError, match="a block was computed"):
        bn.dask.stats(array)


UNKNOWN = da.zeros((6, 4))[da.ones(6) > 0]
BAD_ARRAYS = [
    (np.zeros((6, 4)), TypeError, "array must be a dask array, got ndarray .see dask.array.from"),
    (UNKNOWN, ValueError, "array must have blocks of known sizes, got shape .nan, 4. .see its"),
    (never(dtype=np.uint8), TypeError, "array must be float16, .* or float64, got uint8"),
    (never(dtype=np.complex64), TypeError, "array must be float16, .* or float64, got complex64"),
    (never((6,)), ValueError, r"array must have at least 2 axes, got shape \(6,\)"),
]


@pytest.mark.parametrize(("array", "error", "words"), BAD_ARRAYS)
def test_arrays_that_are_refused_are_not_computed(array, error, words):
    with pytest.raises(error, match=words):
        bn.dask.stats(array)
    with pytest.raises(error, match=words):
        bn.dask.normalize(array, np.ones(4), np.ones(4))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"axis": 2}, "axis must be between -2 and 1, got 2"),
        ({"eps": -1}, "eps must be a number of at least 0, got -1"),
        ({"mean": None}, "mean must be a numpy array, got NoneType"),
        ({"var": np.ones(3)}, r"var must have shape \(4,\), got \(3,\)"),
        ({"weight": da.ones(5)}, r"weight must have shape \(4,\), got \(5,\)"),
        ({"bias": da.ones(4, dtype=int)}, "bias must be float32 or float64, got int64"),
    ],
)
def test_other_arguments_are_checked_before_anything_is_computed(changed, words):
    arguments = {"mean": np.ones(4), "var": np.ones(4), **changed}
    with pytest.raises((TypeError, ValueError), match=words):
        bn.dask.normalize(never(), **arguments)


def test_the_axis_and_the_flag_of_statistics_are_checked():
    with pytest.raises(ValueError, match="axis must be between -2 and 1, got 2"):
        bn.dask.stats(never(), 2)
    with pytest.raises(TypeError, match="compute must be True or False, got 'no'"):
        bn.dask.stats(never(), compute="no")


def test_without_dask_the_message_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = "needs dask, which is not installed: pip install '.\\[dask\\]' in a checkout"
    with pytest.raises(ImportError, match="bn.dask.stats " + words):
        bn.dask.stats(never())
    with pytest.raises(ImportError, match="bn.dask.normalize " + words):
        bn.dask.normalize(never(), np.ones(4), np.ones(4))


# ---- more than two workers hold ----

CHANNELS, ROWS, PERIOD = 64, 78_125_000, 1000


def staircase(block_info, seconds=()):
    """Make float32 rows r whose channel c has the value 1000·c + (r mod 1000)."""
    (first, last), _ = block_info[None]["array-location"]
    steps = (np.arange(first, last) % PERIOD).astype(np.float32)
    number = block_info[None]["chunk-location"][0]
    if len(seconds):
        time.sleep(seconds[number % len(seconds)])
    return steps[:, None] + 1000 * np.arange(CHANNELS, dtype=np.float32)


def stairs(rows, block, seconds=()):
    """Return a dask array of such rows, which are made block by block."""
    whole, rest = divmod(rows, block)
    chunks = ((block,) * whole + (rest,) * (rest > 0), (CHANNELS,))
    return da.map_blocks(staircase, chunks=chunks, dtype=np.float32, seconds=seconds)


def test_statistics_of_the_staircase_are_known():
    """The slow test below makes the same array with many more rows."""
    assert_stairs(bn.dask.stats(stairs(3000, 130)), 3000)


def assert_stairs(stats, rows):
    assert (stats.count == rows).all()
    mean = 1000 * np.arange(CHANNELS) + (PERIOD - 1) / 2
    np.testing.assert_allclose(stats.mean, mean, rtol=1e-11)
    np.testing.assert_allclose(stats.var, (PERIOD**2 - 1) / 12, rtol=1e-6)


def peak():
    """Return the most memory that a process had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere ru_maxrss is in other units")
def test_20_gb_on_two_workers_of_1_gb_have_the_same_bits_in_every_order(rng):
    distributed = pytest.importorskip("distributed")
    block = 250_000  # rows: 64 MB
    found = []
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit="1GB", dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        for seconds in ((), tuple(rng.random(100) / 10)):
            array = stairs(ROWS, block, seconds)
            assert array.nbytes == 20e9
            start = time.perf_counter()
            found.append(bn.dask.stats(array))
            print(f"{array.nbytes / 1e9:g} GB in {time.perf_counter() - start:.0f} s")
        peaks = client.run(peak)
    print("peaks in MB:", [round(value / 1e6) for value in peaks.values()])
    assert_stairs(found[0], ROWS)
    assert of_stats(found[0]) == of_stats(found[1])
    assert all(value < 1e9 for value in peaks.values())
