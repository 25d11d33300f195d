"""The folder of a training: nothing is lost, results appear together, and a training goes on."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from cli_files import environment, write_mnist

from bn import nn
from bn.cli import folder as folders
from bn.cli import main, results
from bn.cli.training import Trainer

pytest.importorskip("matplotlib")
RESULTS = ["curves.png", "metrics.json", "model.npz"]


def words(folder, *options):
    """Return the arguments of a training of three epochs of five steps for each network."""
    (folder / "data").mkdir(exist_ok=True)
    data = write_mnist(folder / "data")
    fixed = ("train", "--data", data, "--epochs", 3, "--batch-size", 4, "--threads", 1)
    return [str(word) for word in (*fixed, "--out", folder / "out", *options)]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def outcome(folder):
    """Return all that a training leaves, but for times."""
    out = folder / "out"
    assert names(out) == RESULTS
    metrics = json.loads((out / "metrics.json").read_text())
    for run in metrics["networks"]:
        run["seconds"] = None
        for epoch in run["epochs"]:
            epoch["seconds"] = epoch["images_per_second"] = None
    metrics["options"]["data"] = None
    with np.load(out / "model.npz") as arrays:
        return metrics, {name: arrays[name].tobytes() for name in arrays.files}


def stop_after(monkeypatch, steps):
    """Let Ctrl-C be pressed during a step, and return a function that leaves it alone again."""
    step, left = nn.SGD.step, [steps]

    def counting(optimizer):
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        step(optimizer)

    monkeypatch.setattr(nn.SGD, "step", counting)


@pytest.fixture
def ctrl_c():
    """Handle Ctrl-C as in a terminal; a background job has no handler."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_training_in_a_folder_is_refused_and_changes_nothing(tmp_path, capsys):
    assert main(words(tmp_path)) == 0
    before = outcome(tmp_path)
    assert main(words(tmp_path, "--seed", 1)) == 1
    assert capsys.readouterr().err == (
        f"{tmp_path / 'out'} has the results of an earlier training (model.npz, metrics.json, "
        "curves.png): replace them by --force, or choose another folder by --out\n"
    )
    assert outcome(tmp_path) == before
    assert main(words(tmp_path, "--seed", 1, "--force")) == 0
    assert outcome(tmp_path) != before


def test_results_of_an_earlier_training_stay_until_all_new_ones_take_their_place(
    tmp_path, monkeypatch
):
    assert main(words(tmp_path)) == 0
    out, seen = tmp_path / "out", []
    before = {name: (out / name).read_bytes() for name in RESULTS}
    draw = results.draw_curves

    def look(path, *rest):
        draw(path, *rest)  # the last file is written
        seen.append({name: (out / name).read_bytes() for name in RESULTS})

    monkeypatch.setattr(results, "draw_curves", look)
    assert main(words(tmp_path, "--seed", 1, "--force")) == 0
    assert seen == [before]
    assert not any((out / name).read_bytes() == before[name] for name in RESULTS)


def test_other_files_in_the_folder_stay(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert main(words(tmp_path)) == 0
    assert main(words(tmp_path, "--force")) == 0
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
@pytest.mark.parametrize("steps", [1, 5, 7, 15, 16, 29], ids="step {}".format)
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(
    tmp_path, monkeypatch, capsys, ctrl_c, steps
):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    assert main(words(whole, "--augment", "--early-stop", 2)) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        assert main(words(parts, "--augment", "--early-stop", 2)) == 130
    assert "--resume goes on with it" in capsys.readouterr().out
    assert [name for name in names(parts / "out") if name != "curves.png"] == [
        *RESULTS[1:],
        "unfinished",
    ]
    assert main(words(parts, "--augment", "--early-stop", 2, "--resume")) == 0
    assert outcome(parts) == outcome(whole)


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
def test_a_training_can_be_stopped_several_times(tmp_path, monkeypatch, ctrl_c):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    assert main(words(whole)) == 0
    options = []
    for _ in range(4):
        with monkeypatch.context() as patch:
            stop_after(patch, 6)
            assert main(words(parts, *options)) == 130
        options = ["--resume"]
    assert main(words(parts, "--resume")) == 0
    assert outcome(parts) == outcome(whole)


def test_a_training_that_was_killed_goes_on_to_the_same_bits(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    assert main(words(whole)) == 0
    code = (
        "import os, sys\n"
        "from bn import nn\n"
        "from bn.cli import main\n"
        "step, left = nn.SGD.step, [22]\n"
        "def counting(optimizer):\n"
        "    left[0] -= 1\n"
        "    if left[0] == 0:\n"
        "        os._exit(9)\n"
        "    step(optimizer)\n"
        "nn.SGD.step = counting\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, *words(parts)]
    done = subprocess.run(command, env=environment(), capture_output=True, check=False)
    assert done.returncode == 9, done.stderr
    assert names(parts / "out") == ["unfinished"]  # nothing half done
    assert main(words(parts, "--resume")) == 0
    assert outcome(parts) == outcome(whole)


@pytest.fixture
def stopped(tmp_path, monkeypatch, ctrl_c, capsys):
    """Return the folder of a training that was stopped in its second epoch."""
    with monkeypatch.context() as patch:
        stop_after(patch, 7)
        assert main(words(tmp_path)) == 130
    capsys.readouterr()
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--resume", "--lr", "0.1"],
            "--lr must be 0.05 to go on with the training in {}, got 0.1",
        ),
        (["--resume", "--norm", "group", "none"], "--norm must be batch none to go on with"),
        (["--resume", "--early-stop", "3"], "--early-stop must be None to go on with"),
        (["--resume", "--force"], "--force begins anew and --resume goes on: at most one of them"),
        ([], "{} has an unfinished training: go on with it by --resume, begin anew by --force"),
    ],
)
def test_a_stopped_training_is_neither_mixed_nor_lost(stopped, capsys, options, sentence):
    assert main(words(stopped, *options)) == 1
    error = capsys.readouterr().err
    assert error.startswith(sentence.format(stopped / "out")) and error.count("\n") == 1
    assert (stopped / "out" / "unfinished" / "training-0.npz").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
def test_force_begins_a_stopped_training_anew(stopped):
    assert main(words(stopped, "--lr", "0.1", "--force")) == 0
    metrics, _ = outcome(stopped)
    assert metrics["options"]["lr"] == 0.1 and len(metrics["networks"]) == 2


def test_there_must_be_something_to_resume(tmp_path, capsys):
    sentence = f"{tmp_path / 'out'} has no unfinished training with which --resume could go on\n"
    assert main(words(tmp_path, "--resume")) == 1
    assert capsys.readouterr().err == sentence
    assert main(words(tmp_path)) == 0
    assert main(words(tmp_path, "--resume")) == 1
    assert capsys.readouterr().err == sentence


def test_a_training_that_fails_before_its_first_step_leaves_no_folder(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    write_mnist(tmp_path / "data", size=(3, 3))
    command = ["train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert main(command) == 1
    assert "must have at least 4 x 4 pixels" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_network_that_fails_to_be_measured_was_saved_before(tmp_path, monkeypatch):
    def fails(trainer, run):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "measure_both", fails)
        assert main(words(tmp_path)) == 130
    assert (tmp_path / "out" / "unfinished" / "model.npz").is_file()
    assert main(words(tmp_path, "--resume")) == 0
    assert outcome(tmp_path)[0]["networks"][0]["status"] == "complete"


def test_files_of_a_training_that_are_damaged_are_one_sentence(tmp_path, capsys):
    out = folders.Folder(tmp_path / "out")
    out.open({"lr": 1}, force=False, resume=False)
    (out.unfinished / "options.json").write_text("[1")
    assert main(words(tmp_path, "--resume")) == 1
    assert capsys.readouterr().err.count("\n") == 1
    (out.unfinished / "options.json").write_text("[1]")
    assert main(words(tmp_path, "--resume")) == 1
    assert "must hold the options of a training, got [1]" in capsys.readouterr().err
