"""Outputs come from recycled memory, which comes back when nothing refers to it, never before."""

import numpy as np
import pytest
from memory_outputs import (
    SHAPE,
    SPARE,
    address,
    columns,
    fresh_memory,  # noqa: F401
    get_handler_name,
    one_piece,
    output,
)

import bn

ZEROS, ONES = np.zeros(16), np.ones(16)
FUNCTIONS = {
    "normalize": lambda x: bn.normalize(x, ZEROS, ONES),
    "normalize_batch": lambda x: bn.normalize_batch(x)[0],
    "batch_norm": lambda x: bn.batch_norm(x, None, None, training=True),
    "backward_apply": lambda x: bn.backward_apply(
        x, x, ZEROS, ONES, sums=bn.backward_reduce(x, x, ZEROS)
    ),
    "backward_batch": lambda x: bn.backward_batch(x, x, bn.stats(x))[0],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_memory_of_an_output_that_died_serves_the_next(name):
    x = np.ones(SHAPE, np.float32)
    y = FUNCTIONS[name](x)
    first, before = address(y), bn.memory.info()
    del y
    other = np.empty(SHAPE, np.float32)  # it would take the place in malloc's memory
    y = FUNCTIONS[name](x)
    after = bn.memory.info()
    assert address(y) == first != address(other)
    assert (after["hits"], after["misses"]) == (before["hits"] + 1, before["misses"])


def test_of_equal_pieces_the_one_that_was_given_up_last_comes_back_first():
    one_piece()
    arrays = [output() for _ in range(6)]
    addresses = [address(a) for a in arrays[::2]]
    for k in (0, 4, 2):  # those between them live on, so that the pieces do not become one
        arrays[k] = None
    again = [output(), output(), output()]
    assert [address(a) for a in again] == [addresses[1], addresses[2], addresses[0]]


def test_neighbours_that_died_serve_a_larger_output():
    one_piece(2**22 + SPARE)
    arrays = [output(columns(2**20)) for _ in range(4)]
    first = min(map(address, arrays))
    misses = bn.memory.info()["misses"]
    arrays.clear()
    assert address(output(columns(2**22))) == first
    assert bn.memory.info()["misses"] == misses


def test_an_output_takes_a_part_of_a_larger_piece_and_leaves_the_rest():
    y = output(columns(2**22))
    first = address(y)
    del y
    parts = [output(columns(2**20), fill=k) for k in range(3)]
    assert all(first <= address(a) < first + 2**22 for a in parts)
    assert all((a == k).all() for k, a in enumerate(parts))
    assert bn.memory.info()["held"] < 2**20


HOLDERS = {
    "slice": lambda y: y[1:, ::2],
    "transpose": lambda y: y.T,
    "reshaped": lambda y: y.reshape(-1),
    "other dtype": lambda y: y.view(np.int32),
    "view of a view": lambda y: y[0][0][1:],
    "memoryview": memoryview,
    "frombuffer": lambda y: np.frombuffer(y, np.uint8),
    "asarray of a memoryview": lambda y: np.asarray(memoryview(y)),
    "iterator": lambda y: y.flat,
    "DLPack": np.from_dlpack,
    "cycle": lambda y: [y],
}


def assert_held_until_the_holder_dies(hold):
    y = output(fill=3)
    first, holder = address(y), hold(y)
    del y
    others = [output(fill=k) for k in range(4)]
    assert first not in map(address, others)
    values = holder[0] if isinstance(holder, list) else holder
    values = values.base if isinstance(values, np.flatiter) else np.asarray(values)
    assert (values.ravel().view(np.uint8)[:4].view(np.float32) == 3).all()
    del holder, values
    assert address(output()) == first


@pytest.mark.parametrize("name", HOLDERS)
def test_memory_never_comes_back_while_something_refers_to_it(name):
    assert_held_until_the_holder_dies(HOLDERS[name])


@pytest.mark.parity
def test_memory_never_comes_back_while_a_tensor_refers_to_it(torch):
    assert_held_until_the_holder_dies(torch.from_numpy)


def test_an_output_owns_its_memory_and_other_arrays_keep_numpys_allocator():
    before = get_handler_name()
    y = output()
    assert y.flags.owndata and y.base is None
    assert get_handler_name(y) == "bn"
    assert get_handler_name() == get_handler_name(np.empty(SHAPE)) == before


def test_numpys_allocator_is_restored_after_a_failed_call():
    before = get_handler_name()
    x = np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (2**50, 2), (0, 0))
    used = bn.memory.info()["used"]
    with pytest.raises(MemoryError):
        bn.normalize(x, np.zeros(2), np.ones(2))
    assert get_handler_name() == before
    assert bn.memory.info()["used"] == used


@pytest.mark.parametrize("nbytes", [2**16, 100_000, 2**20, 2**21, 3 * 2**20])
def test_outputs_are_aligned_to_cache_lines(nbytes):
    arrays = [output(columns(nbytes)) for _ in range(3)]
    assert [address(a) % 64 for a in arrays] == [0, 0, 0]


def test_outputs_have_the_order_of_x_and_are_plain_arrays():
    x = np.ones((8, 64, 64, 16), np.float32).transpose(0, 3, 1, 2).view(np.recarray)
    y = bn.normalize(x, ZEROS, ONES)
    assert y.strides == x.strides
    assert type(y) is np.ndarray


def test_small_outputs_are_left_to_numpy():
    before = bn.memory.info()
    assert get_handler_name(output(columns(2**16 - 4))) != "bn"
    assert bn.memory.info() == before


@pytest.mark.parametrize("shape", [(0, 3), (4, 0, 5), (2, 3, 0)])
def test_outputs_of_size_zero_have_the_shape_of_x(shape):
    x = np.ones(shape, np.float32)
    assert bn.normalize(x, np.zeros(shape[1]), np.ones(shape[1])).shape == shape


def test_blocks_of_all_sizes_are_large_enough_and_nobody_writes_into_anothers():
    steps = [2**octave // 4 * quarter for octave in range(16, 22) for quarter in range(4, 8)]
    sizes = [step + extra for step in steps for extra in (-4, 0, 4) if step + extra >= 2**16]
    used = bn.memory.info()["used"]
    for _ in range(2):  # the second time it is recycled memory, in another order
        sizes.reverse()
        arrays = [output(columns(size), k) for k, size in enumerate(sizes)]
        assert all((a == k).all() for k, a in enumerate(arrays))
        for size in sizes:
            before = bn.memory.info()["used"]
            another = output(columns(size))
            assert size <= bn.memory.info()["used"] - before <= size + SPARE
            del another
        del arrays
        assert bn.memory.info()["used"] == used


@pytest.mark.parametrize("count", [100, 2**19 + 10, 2**19 + 2**17 + 1, 2**21])
def test_resizing_in_place_keeps_values_and_owns_what_it_writes(count):
    used = bn.memory.info()["used"]
    neighbours = [output(fill=1), output(fill=2)]
    y = output(fill=7)
    y.resize((count,), refcheck=False)
    expected = np.zeros(count, np.float32)
    expected[: np.prod(SHAPE)] = 7
    np.testing.assert_array_equal(y, expected)
    y.fill(9)
    assert (neighbours[0] == 1).all() and (neighbours[1] == 2).all()
    del y, neighbours
    assert bn.memory.info()["used"] == used


def test_a_copy_of_an_output_has_memory_of_its_own():
    y = output(fill=5)
    copy = y.copy()
    del y
    output(fill=6)
    assert (copy == 5).all()
