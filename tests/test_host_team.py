"""Loops on the OpenMP team of the program around: the same results, on its threads."""

import os
import threading

import numpy as np
import pytest
import threadpoolctl

import bn
from bn._core import core


def openmp_library():
    found = [each for each in threadpoolctl.threadpool_info() if each["user_api"] == "openmp"]
    return found[0]["filepath"] if found else None


LIBRARY = openmp_library()
X = np.random.default_rng(0).standard_normal((16, 32, 40, 40)).astype(np.float32)


@pytest.fixture
def team():
    """Return the block in which loops are the team's."""
    if LIBRARY is None or not core.find_host_team(LIBRARY):
        pytest.skip("no OpenMP runtime with GOMP_parallel is loaded")
    return core.HostTeam()


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_any_number_of_shares_gives_the_same_bits(team, threads):
    y, batch = bn.normalize_batch(X)
    dx, sums = bn.backward_batch(X, X, batch)
    with bn.threads(threads), team:
        found, found_batch = bn.normalize_batch(X)
        found_dx, found_sums = bn.backward_batch(X, X, batch)
    assert (found == y).all() and (found_batch.m2 == batch.m2).all()
    assert (found_dx == dx).all() and (found_sums.dy_xmu == sums.dy_xmu).all()


def test_threads_of_the_program_may_have_teams_at_the_same_time(team):
    y, _ = bn.normalize_batch(X)
    wrong = []

    def work():
        with team:
            wrong.extend(1 for _ in range(20) if (bn.normalize_batch(X)[0] != y).any())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork beside threads
def test_a_forked_child_has_no_team_and_computes_the_same(team):
    with team:
        y, _ = bn.normalize_batch(X)
        child = os.fork()
        if child == 0:
            os._exit(int((bn.normalize_batch(X)[0] != y).any()))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_library_that_is_not_loaded_is_not_found(tmp_path):
    assert not core.find_host_team(str(tmp_path / "libgomp.so.1"))
