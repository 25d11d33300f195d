"""These tests are of what `train` leaves behind and says after one epoch on a few small images."""

import signal

import numpy as np
import pytest
from cli_files import write_mnist

from bn.cli import main, results
from bn.cli.training import Trainer


def train_here(folder, *options):
    """Run `train` in this process for one epoch on a few small images, and return the exit code."""
    pytest.importorskip("matplotlib")
    (folder / "data").mkdir(exist_ok=True)
    data = write_mnist(folder / "data")
    words = ("train", "--data", data, "--epochs", 1, "--threads", 1, "--out", folder / "out")
    return main([str(word) for word in (*words, *options)])


def test_a_folder_in_the_place_of_the_checkpoint_is_named_in_the_error(tmp_path, capsys):
    path = tmp_path / "out" / "model.npz"
    path.mkdir(parents=True)
    assert train_here(tmp_path) == 1
    assert capsys.readouterr().err == f"{path}: Is a directory\n"


def test_the_network_is_saved_before_it_is_measured(tmp_path, monkeypatch):
    def fails(trainer, run):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "measure_both", fails)
    assert train_here(tmp_path) == 130
    assert (tmp_path / "out" / "model.npz").is_file()


def test_the_seed_decides_the_first_weights(tmp_path):
    weights = []
    for seed in (1, 1, 2):  # the rate is too small to change any
        assert train_here(tmp_path, "--seed", seed, "--lr", "1e-30") == 0
        with np.load(tmp_path / "out" / "model.npz") as arrays:
            weights.append(arrays["0.weight"])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()


def test_a_training_of_one_epoch_is_announced_in_the_singular(tmp_path, capsys):
    assert train_here(tmp_path) == 0
    assert "digits: 1 epoch in batches of 64," in capsys.readouterr().out


def test_a_network_that_diverged_is_not_offered_for_classifying(tmp_path, capsys):
    assert train_here(tmp_path, "--lr", "1e30", "--batch-size", 4, "--epochs", 2) == 0
    output = capsys.readouterr().out
    assert "with batch norm (diverged)" in output
    last = "the network with batch norm diverged and cannot classify: try a smaller --lr"
    assert output.splitlines()[-1] == last and "classify images with" not in output


def test_ctrl_c_while_the_results_are_written_waits_for_them(tmp_path, monkeypatch, capsys):
    draw = results.draw_curves

    def interrupted(*args):
        signal.raise_signal(signal.SIGINT)
        draw(*args)

    monkeypatch.setattr(results, "draw_curves", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert train_here(tmp_path) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert f"results in {tmp_path / 'out'}" in capsys.readouterr().out
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"curves.png", "metrics.json", "model.npz"}
