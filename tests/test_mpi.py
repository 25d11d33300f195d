"""Synchronized layers on MPI: runs of `mpi_run` under mpiexec, with 1 to 4 ranks."""

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mpiexec import needs_mpi, started

import bn

RUN = Path(__file__).with_name("mpi_run.py")


def run(name, ranks):
    """Run a function of `mpi_run` on so many ranks; return its exit code, and what it wrote."""
    return started(ranks, str(RUN), name)


def test_bn_and_its_mpi_do_not_import_mpi4py():
    code = "import sys, bn, bn.mpi, bn.distributed; assert 'mpi4py' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_mpi4py_a_communicator_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"bn\.mpi\.Communicator needs mpi4py"):
        bn.mpi.Communicator(None)


@needs_mpi
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_the_ranks_have_the_results_of_one_process_and_the_same_bits(ranks):
    code, text = run("whole", ranks)
    assert code == 0, text
    assert sorted(text.splitlines()) == [f"rank {rank}: whole" for rank in range(ranks)]


@needs_mpi
def test_a_communicator_that_was_split_normalizes_within_groups():
    code, text = run("groups", 4)
    assert code == 0, text
    assert text.count("groups") == 4


# What each rank but the last one says, and the exit code.
NOTHING_CAME = r"SyncError: rank \d in forward of layer 0: nothing came from rank 2 within 1 s"
FAULTS = {
    "channels_differ": (
        r"SyncError: all ranks must make the same call, got forward of layer 2 \(300 channels, "
        r"float32, call 2\) on rank 0, and forward of layer 2 \(301 .* on rank 1, and .*\(302 ",
        0,
    ),
    "skipped": (NOTHING_CAME, 1),
    "late": (r"SyncError: .*(nothing came from rank 2|not all ranks came) within 1 s", 1),
    "uncaught": (NOTHING_CAME, 1),
    "failed": ("SyncError: rank 2 failed: ValueError: no such file", 0),
    "freed": (NOTHING_CAME, 1),
}


@needs_mpi
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_one_rank_is_an_error_on_all_and_the_run_ends(fault):
    message, expected = FAULTS[fault]
    code, text = run(fault, 3)
    assert code == expected, text
    for rank in (0, 1):
        said = re.findall(rf"^rank {rank}: (.*)$", text, re.MULTILINE)
        assert said and all(re.match(message, line) for line in said), text
        # no batch but one that all ranks had has entered the running statistics
        means = {line.partition("; mean ")[2] for line in said}
        assert len(means) == 1 and (fault == "failed") == ("[0. 0. 0.]" not in means), text
    of_last = {"freed": "comm must be .* freed", "late": "not all ranks came .* mean .0. 0. 0.."}
    if fault in of_last:
        assert re.search(f"^rank 2: SyncError: .*: {of_last[fault]}", text, re.MULTILINE), text


@needs_mpi
@pytest.mark.parametrize("fault", ["killed", "interrupted"])
def test_a_rank_that_is_killed_or_interrupted_ends_the_run(fault):
    begin = time.monotonic()
    code, text = run(fault, 2)
    assert code != 0 and time.monotonic() - begin < 30, text
    assert ("rank 0: KeyboardInterrupt" in text) == (fault == "interrupted"), text
