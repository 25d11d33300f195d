"""`python -m bn train` runs in a process of its own and in a temporary folder."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_files import environment, run_bn, write_cifar, write_mnist

from bn import nn
from bn.cli import main, results

EPOCHS = 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train once, and return the finished process and its working folder."""
    for package in ("sklearn", "matplotlib"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("train")
    done = run_bn("train", "--epochs", EPOCHS, "--seed", 3, "--threads", 1, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done, folder


def test_training_prints_a_plain_line_per_epoch_for_both_networks(trained):
    done, _ = trained
    assert "\x1b" not in done.stdout and done.stderr == ""
    assert done.stdout.splitlines()[:2] == [
        "digits: 1,347 training and 450 test images, 8 x 8 grey pixels, 10 classes",
        "digits: 2 epochs in batches of 64, learning rate 0.05, seed 3, threads 1",
    ]
    lines = [line for line in done.stdout.splitlines() if "images/s" in line]
    assert [line.split("  ")[0] for line in lines] == (
        ["with batch norm"] * EPOCHS + ["without batch norm"] * EPOCHS
    )
    assert "epoch 2/2" in lines[1] and "loss" in lines[1] and "test accuracy" in lines[1]


def test_training_ends_with_a_comparison_and_says_where_the_results_are(trained):
    done, _ = trained
    *_, with_bn, without, _, where, how = done.stdout.splitlines()
    assert with_bn.startswith("with batch norm ") and with_bn.count("%") == 2
    assert without.startswith("without batch norm ") and without.endswith(" s")
    path = Path("runs", "digits")
    assert where.endswith(str(path)) and f"predict {path / 'model.npz'} " in how


def test_metrics_json_holds_options_versions_and_the_numbers_of_each_epoch(trained):
    done, folder = trained
    metrics = json.loads((folder / "runs" / "digits" / "metrics.json").read_text())
    assert metrics["options"] == {
        "model": "digits",
        "data": None,
        "epochs": EPOCHS,
        "batch_size": 64,
        "lr": 0.05,
        "seed": 3,
        "norm": ["batch", "none"],
        "augment": False,
        "early_stop": None,
        "threads": 1,
    }
    assert set(metrics["versions"]) == {"bn", "numpy", "python"}
    assert metrics["data"]["training_images"] == 1347 and metrics["data"]["test_images"] == 450
    first, second = metrics["networks"]
    assert first["norm"] == "batch" and second["norm"] == "none"
    for network in (first, second):
        assert network["status"] == "complete"
        assert [epoch["epoch"] for epoch in network["epochs"]] == [1, 2]
        last = network["epochs"][-1]
        assert network["test_accuracy_eval"] == last["test_accuracy"]
        assert network["epochs"][0]["lr"] == 0.05 > last["lr"]
        assert last["images_per_second"] > 0 and network["seconds"] >= last["seconds"] > 0
        assert f"{100 * last['test_accuracy']:.1f} %" in done.stdout
    assert first["test_accuracy_eval"] > 0.9
    assert second["test_accuracy_batch"] == second["test_accuracy_eval"]


def test_curves_png_is_a_picture(trained):
    image = pytest.importorskip("PIL.Image")
    with image.open(trained[1] / "runs" / "digits" / "curves.png") as curves:
        assert curves.format == "PNG" and curves.width > 2 * curves.height > 1000
        colors = {color for _, color in curves.convert("RGB").getcolors(2**24)}
    for hexadecimal in results.COLORS[:2]:
        assert tuple(bytes.fromhex(hexadecimal[1:])) in colors


def test_the_checkpoint_says_how_to_rebuild_the_network_and_feed_it(trained):
    about = nn.metadata(trained[1] / "runs" / "digits" / "model.npz")
    assert about["model"] == "digits" and about["input_shape"] == [1, 8, 8]
    assert about["classes"] == list("0123456789")
    assert len(about["mean"]) == len(about["std"]) == 1


@pytest.mark.parametrize("model", ["tutorial-torch", "tutorial-keras", "resnet"])
def test_networks_other_than_the_default_train_on_cifar(tmp_path, model):
    pytest.importorskip("matplotlib")
    data = write_cifar(tmp_path)
    done = run_bn(
        "train", "--model", model, "--data", data, "--epochs", 1, "--threads", 1, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("CIFAR-10: 20 training and 4 test images, 32 x 32 colour pixels")
    assert (tmp_path / "runs" / model / "model.npz").is_file()


@pytest.mark.parametrize("size", [(8, 8), (3, 3)], ids=["labels wrong", "too small"])
def test_bad_training_data_is_one_sentence_and_exit_code_1(tmp_path, size):
    pytest.importorskip("matplotlib")
    write_mnist(tmp_path, size=size)
    if size == (8, 8):
        (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"labels")
    done = run_bn("train", "--data", tmp_path, cwd=tmp_path)
    assert done.returncode == 1
    assert "must" in done.stderr and "got" in done.stderr and done.stderr.count("\n") == 1


def test_a_results_folder_that_cannot_be_made_is_one_sentence_before_training(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    done = run_bn("train", "--out", tmp_path / "file", cwd=tmp_path)
    assert done.returncode == 1 and str(tmp_path / "file") in done.stderr
    assert done.stderr.count("\n") == 1 and done.stdout == ""


def start_long_training(folder, out):
    """Start a training of 1000 epochs that Ctrl-C can stop."""
    for package in ("sklearn", "matplotlib", "PIL"):
        pytest.importorskip(package)
    # A child would inherit a signal that is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "bn",
                "train",
                "--epochs",
                "1000",
                "--threads",
                "1",
                "--out",
                out,
            ],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for(process, words):
    while words not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
def test_ctrl_c_in_a_pipeline_ends_the_reader_and_saves_what_was_trained(tmp_path):
    with start_long_training(tmp_path, "stopped") as process:
        wait_for(process, "epoch    1/1000")
        process.send_signal(signal.SIGINT)
        process.stdout.close()  # the reader gets the same signal and leaves
        assert process.wait(60) == 130
        assert process.stderr.read() == ""
    assert nn.metadata(tmp_path / "stopped" / "model.npz")["model"] == "digits"


def test_a_reader_that_leaves_ends_the_training_and_what_was_trained_is_saved(tmp_path):
    with start_long_training(tmp_path, "left") as process:
        wait_for(process, "epoch    1/1000")
        process.stdout.close()
        assert process.wait(60) == 1
        assert process.stderr.read() == ""
    assert nn.metadata(tmp_path / "left" / "model.npz")["model"] == "digits"


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
def test_a_training_stopped_before_the_first_step_leaves_an_earlier_network_alone(
    tmp_path, capsys, monkeypatch
):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runs" / "digits" / "model.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"an earlier network")
    monkeypatch.setattr(nn, "fit", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    # A background job has no handler.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert main(["train", "--force"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert path.read_bytes() == b"an earlier network"
    assert [found.name for found in path.parent.iterdir()] == ["model.npz"]
    assert "nothing was trained, and nothing saved" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="has other signals")
def test_ctrl_c_saves_what_was_trained_and_says_where(tmp_path):
    process = start_long_training(tmp_path, "stopped")
    with process:
        wait_for(process, "epoch    2/1000")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors == ""
    assert output.splitlines()[-2] == (
        "stopped; what was trained so far is in stopped; --resume goes on with it"
    )
    assert "with batch norm (interrupted)" in output
    assert "without batch norm" not in output

    folder = tmp_path / "stopped"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [n["status"] for n in metrics["networks"]] == ["interrupted"]
    assert 2 <= len(metrics["networks"][0]["epochs"]) < 1000
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    from PIL import Image

    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "image.png")
    done = run_bn("predict", "stopped/model.npz", "image.png", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("image.png: ")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_in_a_terminal_a_row_with_a_bar_is_redrawn_for_each_network(tmp_path):
    for package in ("rich", "matplotlib"):
        pytest.importorskip(package)
    import pty

    data = write_mnist(tmp_path)
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "bn",
            "train",
            "--data",
            str(data),
            "--epochs",
            "2",
            "--threads",
            "1",
        ],
        cwd=tmp_path,
        env={**environment(), "TERM": "xterm", "COLUMNS": "80"},
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    with process:
        shown = read_all(controller)
    assert process.returncode == 0
    assert "\x1b[" in shown and "\u2501" in shown  # there are escape sequences and the bar
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    for name in ("with batch norm", "without batch norm"):
        assert re.search(rf"{name} .*2/2 .* %", text)
    assert max(map(len, re.split(r"[\r\n]+", text))) <= 80
    assert "images/s" in text and "\u2026" not in text  # nothing is cut off


def read_all(controller):
    """Read what was written to a pseudo-terminal until its last writer closed it."""
    chunks = []
    while True:
        try:
            chunk = os.read(controller, 65536)
        except OSError:  # Linux says so that the other end is closed
            chunk = b""
        if not chunk:
            os.close(controller)
            return b"".join(chunks).decode("utf-8", "replace")
        chunks.append(chunk)
