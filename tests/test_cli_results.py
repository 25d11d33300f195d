"""These tests are of what `train` leaves behind and says after one epoch on a few small images."""

import json
import signal

import numpy as np
import pytest
from cli_files import write_mnist

import bn
from bn import nn
from bn.cli import checkpoint, display, main, results
from bn.cli.training import Epoch, Run


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
    assert train_here(tmp_path, "--force") == 1
    message = f"{path} must be a file, which --force replaces, but it is a folder\n"
    assert capsys.readouterr().err == message


def test_the_seed_decides_the_first_weights(tmp_path):
    weights = []
    for seed in (1, 1, 2):  # the rate is too small to change any
        assert train_here(tmp_path, "--seed", seed, "--lr", "1e-30", "--force") == 0
        with np.load(tmp_path / "out" / "model.npz") as arrays:
            weights.append(arrays["0.weight"])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()


def test_a_training_of_one_epoch_is_announced_in_the_singular(tmp_path, capsys):
    assert train_here(tmp_path) == 0
    assert "digits: 1 epoch in batches of 20," in capsys.readouterr().out


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


def test_a_batch_larger_than_the_training_set_is_refused_by_name(tmp_path, capsys):
    assert train_here(tmp_path, "--batch-size", 21) == 1
    message = "--batch-size must be at most 20, the number of training images, got 21\n"
    assert capsys.readouterr().err == message


def epoch(number, loss=0.5):
    return Epoch(number, 0.1, loss, 0.5, loss, 0.5, 1.0, 10.0)


def test_a_single_epoch_is_seen_on_axes_around_it(tmp_path, monkeypatch):
    figures = pytest.importorskip("matplotlib.figure")
    seen = []
    save = figures.Figure.savefig
    monkeypatch.setattr(
        figures.Figure, "savefig", lambda f, *a, **k: (seen.append(f), save(f, *a, **k))
    )
    results.draw_curves(tmp_path / "curves.png", "title", [Run("network", epochs=[epoch(1)])])
    loss, accuracy = seen[0].axes
    for axes in (loss, accuracy):
        assert axes.get_xlim() == (0.5, 1.5) and list(axes.get_xticks()) == [0, 1, 2]
        assert all(line.get_marker() not in ("", "None") for line in axes.get_lines())
    assert accuracy.get_ylim() == (0, 100.5)


def test_the_names_of_many_networks_are_beside_their_curves(tmp_path, monkeypatch):
    figures = pytest.importorskip("matplotlib.figure")
    seen = []
    save = figures.Figure.savefig
    monkeypatch.setattr(
        figures.Figure, "savefig", lambda f, *a, **k: (seen.append(f), save(f, *a, **k))
    )
    runs = [Run(name, epochs=[epoch(1), epoch(2)]) for name in ("a", "b", "c")]
    results.draw_curves(tmp_path / "curves.png", "title", runs)
    assert all(axes.get_legend() is None for axes in seen[0].axes)
    (legend,) = seen[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "c"]


def test_the_loss_of_the_table_is_that_of_the_steps_before_the_accuracies():
    run = Run("network", seconds=1.0, train_loss=0.25, epochs=[epoch(1, loss=0.5)])
    (row,) = results.table_rows([run])
    assert row[3] == "0.2500"


@pytest.mark.parametrize("columns", [40, 60, 79])
def test_lines_and_tables_fit_into_a_narrow_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    run = Run("without batch norm", seconds=1.0, train_loss=0.25, epochs=[epoch(1)])
    with display.open_display() as watcher:
        watcher.start(run, 12, 5)
        watcher.epoch(run.epochs[0], 12)
    results.print_table([run])
    print(display.wrapped("word " * 40))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert "1/12" in lines[0] and "50.0 %" in lines[0]
    assert "without batch norm (interrupted)" in " ".join(lines)


def metrics_of(folder):
    return json.loads((folder / "out" / "metrics.json").read_text())


def test_several_rates_and_batch_sizes_are_in_one_table_and_one_picture(
    tmp_path, capsys, monkeypatch
):
    drawn = []
    draw = results.draw_run
    monkeypatch.setattr(results, "draw_run", lambda *args: (drawn.append(args[-1]), draw(*args)))
    assert (
        train_here(tmp_path, "--lr", "0.1", "0.05", "--batch-size", 10, 20, "--norm", "group") == 0
    )
    expected = [
        f"with group norm, lr {lr}, batch {size}" for size in (10, 20) for lr in ("0.1", "0.05")
    ]
    output = capsys.readouterr().out
    assert "in batches of 10, 20, learning rates 0.1, 0.05, seed 0" in output
    table = output[output.index("test accuracy  test accuracy") :]
    assert [line.split("  ")[0] for line in table.splitlines() if " s" in line[-2:]] == expected
    networks = metrics_of(tmp_path)["networks"]
    assert [run["network"] for run in networks] == expected
    assert [(run["lr"], run["batch_size"]) for run in networks] == [
        *[(0.1, 10), (0.05, 10)],
        *[(0.1, 20), (0.05, 20)],
    ]
    assert len(drawn) == len(set(drawn)) == 4


def test_an_option_given_twice_trains_one_network(tmp_path):
    assert train_here(tmp_path, "--norm", "none", "none", "--lr", "0.1", "0.1") == 0
    assert [run["network"] for run in metrics_of(tmp_path)["networks"]] == ["without batch norm"]


@pytest.mark.parametrize("norm", ["group", "layer", "instance", "none"])
def test_a_network_with_any_normalization_classifies_images(tmp_path, capsys, norm):
    image = pytest.importorskip("PIL.Image")
    assert train_here(tmp_path, "--norm", norm) == 0
    image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "image.png")
    capsys.readouterr()
    model = tmp_path / "out" / "model.npz"
    assert main(["predict", str(model), str(tmp_path / "image.png")]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'image.png'}: ")
    network, about = checkpoint.load(model)
    assert about.norm == norm
    assert any(isinstance(m, bn.GroupNorm) for m in network.modules()) == (norm != "none")


def test_a_known_model_trains_and_classifies(tmp_path):
    assert train_here(tmp_path, "--model", "resnet20", "--norm", "batch") == 0
    network, about = checkpoint.load(tmp_path / "out" / "model.npz")
    assert isinstance(network, nn.models.CifarResNet) and about.model == "resnet20"


def test_quiet_training_prints_nothing(tmp_path, capsys):
    assert train_here(tmp_path, "--quiet") == 0
    output = capsys.readouterr()
    assert output.out == "" and output.err == ""
    assert (tmp_path / "out" / "curves.png").is_file()
    assert train_here(tmp_path, "--quiet") == 1
    assert "--force" in capsys.readouterr().err


def test_a_training_that_no_longer_learns_is_stopped_early(tmp_path, capsys):
    options = ("--epochs", 9, "--early-stop", 2, "--lr", "1e-30", "--norm", "none")
    assert train_here(tmp_path, *options) == 0
    assert "without batch norm (stopped early)" in capsys.readouterr().out
    (run,) = metrics_of(tmp_path)["networks"]
    assert run["status"] == "stopped early" and len(run["epochs"]) == 3


def test_augmentation_changes_what_is_learnt(tmp_path):
    losses = []
    for option in ([], ["--augment"], ["--augment"]):
        assert train_here(tmp_path, "--force", "--epochs", 2, *option) == 0
        losses.append(metrics_of(tmp_path)["networks"][0]["epochs"][-1]["train_loss"])
    assert losses[0] != losses[1] == losses[2]
