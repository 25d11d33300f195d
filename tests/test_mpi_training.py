"""Training by several processes on MPI: the same network, and what is left after a fault."""

import json
import re
from pathlib import Path

import pytest
from mpi_training import AtStep, network, train
from mpiexec import needs_mpi, started

import bn.cli
from bn import nn

SCRIPT = Path(__file__).with_name("mpi_training.py")
pytestmark = needs_mpi


def run(name, ranks, path):
    """Run a function of `mpi_training` on so many ranks; return its exit code and its output."""
    return started(ranks, str(SCRIPT), name, str(path))


def difference(one, other):
    a, b = one.state_dict(), other.state_dict()
    return max(abs(a[name] - b[name]).max() for name in a)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_any_number_of_processes_trains_the_network_of_one(tmp_path, ranks):
    code, text = run("whole", ranks, tmp_path / "model.npz")
    assert code == 0, text
    alone, model = network(), network()
    train(alone)
    nn.load(tmp_path / "model.npz", model)
    assert difference(model, alone) < 1e-9


@pytest.mark.parametrize(
    "fault", ["killed_in_forward", "killed_in_backward", "killed_while_saving", "failed"]
)
def test_after_a_fault_of_one_process_the_last_file_is_gone_on_with(tmp_path, fault):
    path = tmp_path / "run.npz"
    code, text = run(fault, 3, path)
    assert code != 0, text
    if fault == "failed":
        assert "SyncError: rank 2 failed: OSError: cannot read image 12" in text, text
    assert nn.load_training(path, network())["step"] in (5, 6)
    alone, resumed = network(), network()
    train(alone)
    train(resumed, checkpoint=path, resume=True)
    assert difference(resumed, alone) < 1e-9


def test_ctrl_c_on_one_process_stops_all_after_the_same_batch(tmp_path):
    path = tmp_path / "run.npz"
    code, text = run("interrupted", 2, path)
    assert code == 0, text
    assert sorted(text.split("\n")[:2]) == ["rank 0 stopped", "rank 1 stopped"]
    assert nn.load_training(path, network())["step"] == 7
    alone, model = network(), network()
    train(alone)
    train(model, checkpoint=path, resume=True, callbacks=[AtStep(0, None)])
    assert difference(model, alone) < 1e-9


def command(ranks, *options):
    return started(ranks, "-m", "bn", "train", "--distributed", *map(str, options))


def test_the_command_trains_what_it_trains_alone(tmp_path):
    options = "--epochs", 1, "--norm", "batch"
    assert bn.cli.main(["train", *map(str, options), "--quiet", "--out", str(tmp_path / "a")]) == 0
    code, text = command(2, *options, "--out", tmp_path / "b")
    assert code == 0, text
    assert "threads" in text and "on each of 2 ranks" in text
    assert text.count("epoch 1/1") == 1
    one, other = (
        json.loads((tmp_path / name / "metrics.json").read_text())["networks"][0]
        for name in ("a", "b")
    )
    assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
    assert one["test_accuracy_eval"] == pytest.approx(other["test_accuracy_eval"], abs=0.01)


def test_the_command_says_once_what_is_wrong(tmp_path):
    (tmp_path / "model.npz").write_bytes(b"")
    code, text = command(2, "--out", tmp_path)
    assert code != 0
    assert len(re.findall("--force", text)) == 1, text
    assert "Traceback" not in text
