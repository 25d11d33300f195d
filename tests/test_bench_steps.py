"""The benchmark of training steps trains everybody alike, notices who does not, and tells it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bn
from bn import nn

BENCH = Path(__file__).parents[1] / "bench"
pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="bench/ is not here")

SMALLEST = "conv 16, batch 64"
HIDDEN = ("torch", "tensorflow", "jax")  # hidden from the command, so that it is quick


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    threads = bn.get_num_threads()
    yield
    bn.set_num_threads(threads)  # contestants set it


def smallest():
    """A network that has every kind of layer but is quick to train.

    With fewer than eight channels, PyTorch's channels-last layers gave other losses in each run, on
    a CPU with AVX2 and no AVX-512.
    """
    import networks

    layers = (
        *networks.conv(8),
        networks.MaxPool(),
        *networks.conv(8, stride=2, depthwise=True),
        *networks.basic_block(8, 1, widens=False),
        *networks.basic_block(16, 2, widens=True),
        networks.Flatten(),
        networks.Linear(),
    )
    return networks.Network("smallest", 8, layers)


def built(key):
    import step_work
    import trainers

    trainer = trainers.load(key)(1)
    step_work.build(trainer, smallest())
    return trainer


def losses(trainer):
    import networks
    import step_work

    return [trainer.step(i % networks.BATCHES) for i in range(step_work.CHECKED)]


def with_wrong_gradient():
    """Return a contestant whose first normalization returns a gradient that is off by a tenth."""
    trainer = built("bn")
    norm = next(m for m in trainer.model.modules() if isinstance(m, bn.BatchNorm2d))
    backward = norm.backward
    norm.backward = lambda dy: backward(dy) * np.float32(1.1)
    return trainer


class Pretended:
    """A contestant without a process."""

    def __init__(self, name, answer, column="torch"):
        self.name, self.column, self.missing = name, column, None
        self._answer = answer

    def ask(self, command, *arguments):
        return self._answer if command == "start" else 7.0


# ---- the networks ----


def test_every_network_makes_a_number_for_each_class():
    import networks
    from trainers.ours import sequential

    assert len({network.title for network in networks.NETWORKS}) == len(networks.NETWORKS)
    for network in networks.NETWORKS:
        weights = iter(networks.weights(network))
        model = sequential(network.layers, weights)
        assert model.output_shape(networks.IMAGE) == (networks.CLASSES,)
        assert next(weights, None) is None  # all are used


def test_resnet_14_has_fourteen_layers_with_weights():
    import networks

    (found,) = networks.chosen("ResNet-14", quick=False)
    shapes = [w.shape for w in networks.weights(found) if w.ndim > 1]
    assert len([s for s in shapes if s[2:] != (1, 1)]) == 14


def test_networks_are_chosen_by_a_pattern_and_by_quick():
    import networks

    assert [n.title for n in networks.chosen(SMALLEST, quick=True)] == [SMALLEST]
    assert 0 < len(networks.chosen("", quick=True)) < len(networks.chosen("", quick=False))


# ---- the check ----


def test_a_wrong_gradient_is_noticed_and_told():
    import agreement

    right = losses(built("bn"))
    off = agreement.deviations(
        {"bn": right, "again": losses(built("bn1")), "wrong": losses(with_wrong_gradient())}
    )
    assert list(complaints := agreement.complaints(off)) == ["wrong"]
    assert f"{off['wrong']:.1e}" in complaints["wrong"]
    assert off["bn"] == off["again"] == 0


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_disagrees(wrong):
    import agreement

    off = agreement.deviations({"a": [1.0, 2.0], "b": [1.0, 2.0], "c": [wrong, 2.0]})
    assert "c" in agreement.complaints(off)


def test_who_disagrees_or_fails_is_not_timed():
    import train_step
    from step_work import Start

    right = Start((2.0, 1.0), peak=1)
    contestants = [
        Pretended("bn", right, "bn"),
        Pretended("PyTorch", right),
        Pretended("wrong", Start((2.0, 1.1), peak=1)),
        Pretended("broken", Start(problem="ValueError: x")),
    ]
    options = train_step.arguments(["--repeat", "2", "--networks", SMALLEST])
    result = train_step.run(smallest(), contestants, options, float("inf"))
    assert [time["contestant"] for time in result["times"]] == ["bn", "PyTorch"]
    assert result["times"][0]["turns"] == [7.0, 7.0]
    assert list(result["problems"]) == ["broken", "wrong"]


@pytest.mark.parity
@pytest.mark.parametrize("key", ["torch", "torch-last", "keras-torch"])
def test_peers_train_like_bn(key, monkeypatch):
    import agreement

    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)  # other tests need theirs
    if key.startswith("keras"):
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        pytest.importorskip("keras")
    off = agreement.deviations({"bn": losses(built("bn")), key: losses(built(key))})
    assert agreement.complaints(off) == {}


# ---- what is measured ----


def test_the_profile_has_all_layers_and_leaves_them_as_they_were():
    import layer_times

    trainer = built("bn")
    leaves = [m for m in trainer.model.modules() if type(m).backward is not nn.Module.backward]
    rows = layer_times.measure(trainer, lambda: trainer.step(0), steps=3)
    assert [row.kind for row in rows] == [
        *(type(leaf).__name__ for leaf in leaves), "optimizer", layer_times.REST, "step",
    ]  # fmt: skip
    assert all(row.total > 0 for row in rows)
    assert not any({"forward", "backward"} & vars(leaf).keys() for leaf in leaves)
    assert "step" not in vars(trainer.optimizer)


def test_the_profile_is_summed_by_kind():
    from layer_times import Row, by_kind

    rows = [Row("0", "A", "2", 1.0, 2.0, 3.0), Row("1", "A", "", 4.0, 5.0, 9.0)]
    step = Row("", "step", "", None, None, 20.0)
    assert by_kind([*rows, step]) == [Row("", "A", "", 5.0, 7.0, 12.0), step]


def test_the_peak_of_memory_counts_what_was_let_go_again():
    import machine

    memory = machine.Memory()
    if memory.peak() is None:
        pytest.skip("the system does not tell")
    np.ones(8 << 20)
    assert memory.peak() > 60 << 20


def test_the_neighbour_lives_as_long_as_its_block():
    from neighbour import neighbour

    with neighbour() as pid:
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# ---- the command ----


def test_the_command_trains_and_tells_who_is_missing(tmp_path):
    for name in HIDDEN:
        (tmp_path / f"{name}.py").write_text("raise ImportError('it is hidden')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    file = tmp_path / "result.json"
    command = [sys.executable, BENCH / "train_step.py", "--quick", "--profile", "--repeat", "1"]
    done = subprocess.run(
        [*command, "--networks", SMALLEST, "--json", file],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(file.read_text())
    assert {"PyTorch", "PyTorch cl", "Keras TF", "Keras JAX"} == set(result["missing"])
    assert "PyTorch: not installed (it is hidden)" in done.stdout
    (network,) = result["networks"]
    assert [time["contestant"] for time in network["times"]] == ["bn"]
    assert [check["contestant"] for check in network["checks"]] == ["bn"]
    assert "Conv2d 16x3x3x3" in done.stdout
    assert result["machine"]["cores"] >= 1
