"""The benchmark of predictions gives all the same network, and notices who predicts otherwise."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bn

BENCH = Path(__file__).parents[1] / "bench"
pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="bench/ is not here")


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    threads = bn.get_num_threads()
    yield
    bn.set_num_threads(threads)  # contestants set it


def smallest():
    import networks

    layers = (
        *networks.conv(4),
        networks.MaxPool(3, 2, 1),
        *networks.basic_block(8, 2, widens=True),
        networks.Flatten(),
        networks.Linear(6),
        networks.Norm(images=False),
        networks.Linear(),
    )
    return networks.Network("smallest", 3, layers, image=(3, 8, 8))


def outputs(key):
    from inference_work import Work

    answer = Work(key, 1).start(smallest())
    assert answer.problem is None
    return answer.outputs


def test_every_network_can_be_built_and_has_a_title_of_its_own():
    import networks
    from trainers.ours import sequential

    assert len({network.title for network in networks.SERVED}) == len(networks.SERVED)
    for network in networks.SERVED:
        if network.batch > 1:
            continue
        weights = iter(networks.weights(network))
        model = sequential(network.layers, weights)
        assert model.output_shape(network.image) == (networks.CLASSES,)
        assert next(weights, None) is None  # all are used


def test_the_three_forms_of_a_network_predict_the_same():
    import inference

    found = {key: outputs(key) for key in ("bn", "bn-folded", "bn-as-trained")}
    assert inference.disagreeing(found) == {}


def test_who_predicts_otherwise_is_named():
    import inference

    right = outputs("bn")
    wrong = right * (1 + 1e-3)
    found = inference.disagreeing({"a": right, "b": right, "c": wrong})
    assert list(found) == ["c"]
    assert list(inference.disagreeing({"a": right, "b": right, "c": right * np.nan})) == ["c"]


def test_a_checkpoint_serves_a_new_process(tmp_path):
    command = [sys.executable, str(BENCH / "first_prediction.py"), "bn", str(tmp_path)]
    subprocess.run([*command, "--save"], check=True)
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert np.isfinite(float(found))


def test_a_wrong_choice_of_networks_is_named(capsys):
    import inference

    with pytest.raises(SystemExit):
        inference.arguments(["--networks", "nothing like this"])
    assert "'nothing like this'" in capsys.readouterr().err


@pytest.mark.parity
@pytest.mark.parametrize("key", ["torch", "torch-last", "onnxruntime"])
def test_peers_predict_the_same(key):
    import inference

    pytest.importorskip("torch"), pytest.importorskip("onnxruntime")
    assert inference.disagreeing({"bn": outputs("bn"), key: outputs(key)}) == {}
