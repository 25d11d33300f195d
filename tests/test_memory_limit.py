"""These tests are of how much memory waits for outputs to come, and of what gives it back."""

import os
import sys
from pathlib import Path

import pytest
from memory_outputs import LIMIT, address, columns, fresh_memory, output  # noqa: F401
from numpy._core.multiarray import get_handler_name

import bn


def test_the_counts_of_memory_tell_what_waits_and_what_is_used():
    before = bn.memory.info()
    y = output()
    during = bn.memory.info()
    assert during["used"] - before["used"] == y.nbytes
    assert during["misses"] == before["misses"] + 1
    assert during["held"] == 0
    del y
    after = bn.memory.info()
    assert (after["used"], after["held"]) == (before["used"], 2**21)


def test_no_more_memory_than_the_limit_waits_and_the_oldest_goes_first():
    bn.memory.set_limit(3 * 2**20)
    old, young, size = output(columns(2**20)), output(columns(2**20)), 2**21
    addresses = [address(old), address(young)]
    del old, young
    y = output(columns(size))
    del y
    assert bn.memory.info()["held"] == 3 * 2**20
    hits = bn.memory.info()["hits"]
    arrays = [output(columns(2**20)), output(columns(2**20))]
    assert address(arrays[0]) == addresses[1]
    assert bn.memory.info()["hits"] == hits + 1


def test_memory_larger_than_the_limit_does_not_wait_nor_drive_others_out():
    bn.memory.set_limit(2**20)
    small = output(columns(2**20))
    del small
    large = output(columns(2**21))
    del large
    assert bn.memory.info()["held"] == 2**20


def test_a_lower_limit_acts_at_once_on_memory_that_waits():
    arrays = [output(columns(2**20)) for _ in range(4)]
    del arrays
    assert bn.memory.info()["held"] == 2**22
    bn.memory.set_limit(2**21)
    assert bn.memory.info()["held"] == 2**21


def test_trimming_leaves_living_arrays_alone():
    alive, dead = output(fill=4), output()
    del dead
    assert bn.memory.trim() == 2**21
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
