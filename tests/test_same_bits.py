"""The same input gives the same bits with any number of threads and any instruction set."""

import ml_dtypes
import numpy as np
import pytest
from bits import everything
from layouts import MEMORY

import bn
import bncore

SHAPES = [
    ((8, 16, 40, 40), 1),
    ((1, 1, 400, 401), 1),
    ((2, 3, 200, 200), 1),
    ((40, 64, 7, 7), 1),
    ((33, 150, 7, 7), 1),
    ((8, 40, 40, 16), 3),
    ((2, 200, 200, 3), 3),
    ((70, 31, 31, 1), 3),
    ((50, 2000), 1),
    ((9000, 17), 1),
    ((3, 70000), 0),
    ((300000, 1), 1),
]


def assert_same_bits(x, dy, axis, thread_counts):
    before = bncore.selected_isa()
    try:
        bn.set_num_threads(1)
        bncore.select_isa("baseline")
        expected = everything(x, dy, axis)
        for name in bncore.available_isas():
            bncore.select_isa(name)
            for threads in thread_counts:
                bn.set_num_threads(threads)
                assert everything(x, dy, axis) == expected, (name, threads)
    finally:
        bncore.select_isa(before)


@pytest.mark.parametrize("offset", [0, 1e4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_threads_and_instruction_sets_do_not_change_a_bit(shape, axis, dtype, offset, rng):
    x = (rng.standard_normal(shape) + offset).astype(dtype)
    dy = rng.standard_normal(shape).astype(dtype)
    assert_same_bits(x, dy, axis, (1, 2, 3, 7))


@pytest.mark.parametrize(
    ("shape", "axis"), [((2101, 4099), 1), ((21, 100, 61, 67), 1), ((4, 1, 1433, 1501), 1)]
)
def test_threads_and_instruction_sets_do_not_change_a_bit_of_tensors_larger_than_the_caches(
    shape, axis, rng
):
    x, dy = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    assert x.nbytes > 2**25
    assert_same_bits(x, dy, axis, (3,))


@pytest.mark.parametrize(("shape", "axis"), [((50, 2000), 1), ((50, 2000, 1, 3), 1)])
def test_sums_about_a_mean_that_no_float32_has(shape, axis, rng):
    x = (rng.standard_normal(shape) + 30).astype(np.float32)  # some channels are summed twice
    assert_same_bits(x, x, axis, (1, 2))


@pytest.mark.parametrize("memory", MEMORY)
def test_threads_do_not_change_a_bit_for_any_memory_layout(memory, rng):
    x, dy = (memory(rng.standard_normal((9, 6, 50, 50)).astype(np.float32)) for _ in range(2))
    bn.set_num_threads(1)
    expected = everything(x, dy, 1)
    for threads in (2, 3, 7):
        bn.set_num_threads(threads)
        assert everything(x, dy, 1) == expected


def test_gaps_between_rows_do_not_change_a_bit(rng):
    for channels in (3, 32, 100):
        wide = rng.standard_normal((500, channels + 5)).astype(np.float32)
        part = wide[:, :channels]
        assert everything(part, part, 1) == everything(part.copy(), part.copy(), 1)


def test_calls_from_several_python_threads_at_once_agree(rng):
    from concurrent.futures import ThreadPoolExecutor

    x = rng.standard_normal((8, 5, 70, 70)).astype(np.float32)
    expected = everything(x, x, 1)
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(lambda _: everything(x, x, 1), range(32)):
            assert result == expected
