"""Recycled memory works among threads, after fork, and in processes of their own."""

import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from forks import fork_amid
from memory_outputs import LIMIT, SPARE, address, columns, fresh_memory, output  # noqa: F401
from test_process import run

import bn

linux = pytest.mark.skipif(sys.platform != "linux", reason="counts as Linux does")


REPORT = """
    import numpy as np, bn
    for _ in range(3): y = bn.normalize(np.ones((2**16, 2)), np.zeros(2), np.ones(2))
    print(*bn.memory.info().values())
"""


def test_the_environment_sets_the_limit_of_memory_and_switches_recycling_off():
    assert run(REPORT, BN_MEMORY_LIMIT="0") == "0 0 0 0 0"
    limit, held, used, hits, misses = map(int, run(REPORT, BN_MEMORY_LIMIT=str(2**22)).split())
    assert (limit, hits, misses) == (2**22, 1, 2)
    assert 2**20 <= held == used <= 2**20 + SPARE


def test_without_the_environment_the_limit_of_memory_is_at_most_2_gib():
    assert 2**24 < int(run(REPORT, BN_MEMORY_LIMIT="").split()[0]) <= 2**31


def test_a_limit_in_the_environment_that_is_no_size_is_an_error():
    code = """
        try: import bn
        except ValueError as e: print(e)
    """
    assert run(code, BN_MEMORY_LIMIT="1G") == (
        "BN_MEMORY_LIMIT must be a whole number of bytes, 0 or more, got '1G'"
    )


def test_memory_that_one_thread_gave_up_serves_another():
    made = [output()]
    first = address(made[0])
    thread = threading.Thread(target=made.clear)
    thread.start()
    thread.join()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: address(output())).result() == first


def test_threads_never_write_into_each_others_outputs():
    bn.set_num_threads(1)
    shapes = [columns(size) for size in (2**16, 2**16 + 4, 2**17, 200_000)]
    used = bn.memory.info()["used"]

    def work(thread):
        rng = np.random.default_rng(thread)
        kept = []
        for step in range(200):
            fill = thread * 1000 + step
            kept.append((fill, output(shapes[rng.integers(len(shapes))], fill)))
            if len(kept) > 4:
                value, y = kept.pop(rng.integers(len(kept)))
                if not (y == value).all():
                    return False
            if step % 50 == 0:
                bn.memory.trim()
                bn.memory.set_limit(LIMIT if step % 100 else 2**18)
        return all((y == value).all() for value, y in kept)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [True] * 8
    assert bn.memory.info()["used"] == used


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_recycles_its_own_copies():
    bn.set_num_threads(1)
    alive, waiting = output(fill=1), output()
    first = address(waiting)
    del waiting

    def good():
        y = output(fill=2)
        fits = (y == 2).all() and (alive == 1).all()
        alive.fill(3)
        bn.memory.trim()
        return fits

    fork_amid(lambda: output(columns(2**16)), threads=2, times=10, good=good)
    assert (alive == 1).all()
    assert address(output()) == first


@linux
def test_a_steady_loop_has_no_page_faults_with_recycling_and_many_without():
    code = """
        import resource, numpy as np, bn
        bn.set_num_threads(1)
        x = np.ones((32, 64, 56, 56), np.float32)
        def step():
            y = bn.batch_norm(x, None, None, training=True)
            return bn.batch_norm(y, None, None, training=True)
        z = step(); z = step()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20): z = step()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    assert int(run(code, BN_MEMORY_LIMIT=str(LIMIT))) < 20
    assert int(run(code, BN_MEMORY_LIMIT="0", MALLOC_MMAP_THRESHOLD_=str(2**20))) > 20 * 2 * 10


@linux
def test_memory_that_waits_is_given_up_before_memory_runs_out():
    code = """
        import resource, numpy as np, bn
        bn.set_num_threads(1)
        def output(mebibytes):
            x = np.broadcast_to(np.float32(1), (mebibytes * 2**18, 1))
            return bn.normalize(x, np.zeros(1), np.ones(1))
        y = output(300); del y
        size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 2**24, -1))
        y = output(310)
        print(bn.memory.info()['held'] < 2**20)
        used = bn.memory.info()['used']
        try: output(320)
        except MemoryError: print(bn.memory.info()['used'] == used)
    """
    assert run(code, BN_MEMORY_LIMIT=str(2**30)).split() == ["True", "True"]


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("cc"), reason="no C compiler here")
def test_the_allocator_passes_its_checks_in_a_program_without_python(tmp_path):
    here = Path(__file__).parent
    core, program = here.parent / "bncore", tmp_path / "memory_check"
    sources = [here / "memory_check.c", core / "memory.c", core / "pages.c"]
    command = ["cc", "-O1", "-pthread", f"-I{core}", *sources, "-o", program]
    subprocess.run(command, check=True, timeout=60)
    result = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
