"""These tests are of how much memory waits for outputs to come, and of what gives it back."""

import os
import sys
from pathlib import Path

import pytest
from memory_outputs import (
    LIMIT,
    SPARE,
    address,
    columns,
    fresh_memory,  # noqa: F401
    get_handler_name,
    one_piece,
    output,
)
from test_process import run

import bn


def about(nbytes, blocks=1):
    """Return what compares equal to the bytes of so many blocks, which have headers."""
    return pytest.approx(nbytes, abs=blocks * SPARE)


def test_the_counts_of_memory_tell_what_waits_and_what_is_used():
    before = bn.memory.info()
    y = output()
    during = bn.memory.info()
    assert during["used"] - before["used"] == about(y.nbytes)
    assert during["misses"] == before["misses"] + 1
    assert during["held"] == 0
    del y
    after = bn.memory.info()
    assert after["used"] == before["used"]
    assert after["held"] == during["used"] - before["used"]


def separate(count, nbytes):
    """Return outputs that do not adjoin each other, and those between them; nothing else waits."""
    one_piece()
    arrays = [output(columns(nbytes)) for _ in range(2 * count)]
    bn.memory.trim()
    return arrays[::2], arrays[1::2]


def test_no_more_memory_than_the_limit_waits_and_the_oldest_goes_first():
    arrays, between = separate(4, 2**20)
    bn.memory.set_limit(3 * 2**20)
    addresses = [address(a) for a in arrays]
    while arrays:
        del arrays[0]
    assert bn.memory.info()["held"] == about(2 * 2**20, blocks=2)
    hits = bn.memory.info()["hits"]
    again = [output(columns(2**20)), output(columns(2**20))]
    assert [address(a) for a in again] == addresses[:1:-1]
    assert bn.memory.info()["hits"] == hits + 2
    del between


def test_memory_larger_than_the_limit_does_not_wait_nor_drive_others_out():
    one_piece()
    small, between, large = (output(columns(nbytes)) for nbytes in (2**20, 2**16, 2**21))
    bn.memory.trim()
    bn.memory.set_limit(2**20 + SPARE)
    del small
    del large
    assert bn.memory.info()["held"] == about(2**20)
    del between


def test_a_lower_limit_acts_at_once_on_memory_that_waits():
    arrays, between = separate(4, 2**20)
    del arrays
    assert bn.memory.info()["held"] == about(2**22, blocks=4)
    bn.memory.set_limit(2**21 + 4 * SPARE)
    assert bn.memory.info()["held"] == about(2**21, blocks=4)
    del between


def test_sizes_that_change_leave_no_more_than_a_quarter_of_the_peak_use_beyond_it():
    code = """
        import numpy as np, bn
        most = 0
        def output(mebibytes):
            x = np.broadcast_to(np.float32(1), (mebibytes * 2**18, 1))
            return bn.normalize(x, np.zeros(1), np.ones(1))
        for mebibytes in [*range(1, 64, 3), *range(64, 1, -5)]:
            y = output(mebibytes)
            keep = output(1)
            del y
            now = bn.memory.info()
            most = max(most, now["held"] + now["used"])
            del keep
        print(most / 2**20)
    """
    assert 64 < float(run(code, BN_MEMORY_LIMIT=str(2**31))) <= 1.25 * 67


def test_trimming_leaves_living_arrays_alone():
    alive, dead = output(fill=4), output()
    del dead
    assert bn.memory.trim() == about(2**21)
    assert bn.memory.info()["held"] == bn.memory.trim() == 0
    output(fill=5)
    assert (alive == 4).all()


def resident():
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_trimming_gives_memory_back_to_the_system():
    y = output(columns(2**26))
    del y
    before = resident()
    bn.memory.trim()
    assert before - resident() > 0.9 * 2**26


def test_outputs_come_from_numpys_allocator_when_recycling_is_switched_off():
    alive = output(fill=2)  # it dies while recycling is off
    bn.memory.set_limit(0)
    before = bn.memory.info()
    assert get_handler_name(output()) != "bn"
    assert bn.memory.info() == before
    del alive
    assert bn.memory.info()["held"] == 0


@pytest.mark.parametrize("value", [-1, 1.5, True, "1", 2**63])
def test_a_limit_that_is_no_size_is_an_error_and_changes_nothing(value):
    with pytest.raises(ValueError, match="nbytes must be a whole number of bytes, 0 or more, got"):
        bn.memory.set_limit(value)
    assert bn.memory.info()["limit"] == LIMIT
