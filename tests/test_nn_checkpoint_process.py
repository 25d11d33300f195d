"""Processes that save to one folder, and are killed: what they leave is whole, then removed."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from cli_files import environment, run_python, write_mnist
from nn_files import model

from bn import nn
from bn.cli import checkpoint
from bn.nn import replacing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has neither such locks nor kill")

OLD = 10 * replacing.MOST_SECONDS_UNLOCKED
ABANDONED = ".bn-0123456789abcdef.tmp"


def filled(value):
    """Return a model of one megabyte whose weights all have one value."""
    layer = nn.Linear(512, 512)
    layer.set_weights([np.full((512, 512), value), np.full(512, value)])
    return layer


def value_of(path):
    """Return the value of which all weights in a checkpoint are."""
    layer = nn.load(path, filled(0))
    (value,) = {float(value) for array in layer.get_weights() for value in np.unique(array)}
    return value


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def age(path):
    """Make a file older than the limit."""
    then = time.time() - OLD
    os.utime(path, (then, then))


def test_a_save_removes_what_a_killed_save_left_long_ago(tmp_path):
    (tmp_path / ABANDONED).write_bytes(b"half of it")
    nn.save(tmp_path / "model.npz", model())
    assert names(tmp_path) == [ABANDONED, "model.npz"]  # it may be of a save that has just begun
    age(tmp_path / ABANDONED)
    nn.save(tmp_path / "model.npz", model())
    assert names(tmp_path) == ["model.npz"]


@pytest.mark.parametrize("name", [".model.tmp", ".bn-0123.tmp", f"x{ABANDONED}", f"{ABANDONED}x"])
def test_a_save_removes_no_file_of_another_name(tmp_path, name):
    (tmp_path / name).touch()
    age(tmp_path / name)
    nn.save(tmp_path / "model.npz", model())
    assert names(tmp_path) == sorted([name, "model.npz"])


def test_a_save_removes_only_files_and_waits_for_no_pipe(tmp_path, soon):
    os.mkfifo(tmp_path / ABANDONED)
    age(tmp_path / ABANDONED)
    nn.save(tmp_path / "model.npz", model())
    assert names(tmp_path) == [ABANDONED, "model.npz"]


def test_a_file_that_is_being_written_stays_however_old_it_is(tmp_path, soon):
    with replacing.replacing(tmp_path / "slow.npz") as file:
        (temporary,) = tmp_path.iterdir()
        file.write(b"begun")
        file.flush()
        age(temporary)
        nn.save(tmp_path / "model.npz", model())
        assert temporary.exists()
    assert names(tmp_path) == ["model.npz", "slow.npz"]


def test_a_file_is_locked_until_it_has_its_name(monkeypatch, tmp_path):
    found = []
    replace = type(tmp_path).replace

    def renamed(path, target):
        age(path)
        replacing_elsewhere(tmp_path)
        found.append(path.exists())
        replace(path, target)

    def replacing_elsewhere(folder):
        with monkeypatch.context() as patch:
            patch.setattr(type(tmp_path), "replace", replace)
            nn.save(folder / "other.npz", model())

    monkeypatch.setattr(type(tmp_path), "replace", renamed)
    nn.save(tmp_path / "model.npz", model())
    assert found == [True]


# A process that begins with a fork begins sooner than one that imports.
FORKS = """
import os, random, signal, sys, time
from test_nn_checkpoint_process import filled, value_of
from bn import nn

def saving(values, times):
    "Start a process that saves a model for each value, so many times; return its id."
    models = [filled(value) for value in values]
    child = os.fork()
    if child == 0:
        for _ in range(times):
            for model in models:
                nn.save(path, model)
        os._exit(0)
    return child

path = sys.argv[1]
"""
TWO = """
children = [saving([1], 20), saving([2], 20)]
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
print(value_of(path))
"""
KILLED = """
nn.save(path, filled(1))
chance = random.Random(0)
for _ in range(8):
    child = saving([1, 2], 1000)
    time.sleep(chance.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    print(value_of(path))
"""


def values_of_forks(path, code):
    """Run code with the functions of `FORKS`; return the values that it prints."""
    done = run_python("-c", FORKS + code, path)
    assert done.returncode == 0, done.stderr
    return [float(value) for value in done.stdout.split()]


def test_two_processes_that_save_to_one_path_leave_one_of_two_whole_files(tmp_path):
    path = tmp_path / "model.npz"
    (value,) = values_of_forks(path, TWO)
    assert value in (1, 2)
    assert names(tmp_path) == ["model.npz"]


def test_a_save_that_is_killed_leaves_the_old_checkpoint_or_the_new_one(monkeypatch, tmp_path):
    path = tmp_path / "model.npz"
    values = values_of_forks(path, KILLED)
    assert len(values) == 8 and set(values) <= {1, 2}
    monkeypatch.setattr(replacing, "MOST_SECONDS_UNLOCKED", 0)
    nn.save(path, model())
    assert names(tmp_path) == ["model.npz"]


@pytest.mark.slow
def test_a_training_that_is_killed_leaves_a_checkpoint_that_loads(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    words = ["-m", "bn", "train", "--data", write_mnist(data), "--epochs", 1, "--out", out]
    words.append("--force")
    begun = time.monotonic()
    assert run_python(*words).returncode == 0
    longest = time.monotonic() - begun
    rng = np.random.default_rng(0)
    for _ in range(200):
        command = [sys.executable, *map(str, words)]
        with subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL) as process:
            time.sleep(rng.uniform(longest / 2, longest))
            process.kill()
        _, about = checkpoint.load(out / "model.npz")
        assert about.model == "digits"
    monkeypatch.setattr(replacing, "MOST_SECONDS_UNLOCKED", 0)
    nn.save(out / "model.npz", model())
    assert set(names(out)) <= {"curves.png", "metrics.json", "model.npz", "unfinished"}
