"""The tables of training steps tell what was measured, and who was not."""

from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"
pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="bench/ is not here")


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)


def canned_result():
    """PyTorch takes half of bn's time, JAX is not there, and TensorFlow is wrong."""
    names = ["bn", "PyTorch", "PyTorch cl", "Keras TF", "Keras JAX", "bn, 1 thread"]
    ms = {"bn": 8.0, "PyTorch": 6.0, "PyTorch cl": 4.0}
    keys = ("contestant", "where", "median", "q25", "q75")
    return {
        "machine": {
            "cpu": "a processor", "cores": 2, "threads": 2, "last_level_cache": 32 << 20,
            "load": 0.0, "others": 0.4, "date": "2026-01-01T00:00:00", "versions": {"numpy": "2.0"},
            "bn": {"version": "1", "isa": "baseline"}, "contestants": names,
        },
        "networks": [
            {
                "title": "one, batch 2",
                "checks": [{"contestant": n, "losses": [1], "off": 1e-7, "peak": 5e6} for n in ms],
                "times": [
                    dict(zip(keys, (name, where, factor * t, t - 1, t + 1), strict=True))
                    for where, factor in (("quiet", 1), ("beside", 3))
                    for name, t in ms.items()
                ],
                "problems": {"Keras TF": "its losses disagree"},
            }
        ],
        "missing": {"Keras JAX": "not installed (no jax)"},
        "left": ["another, batch 3"],
    }  # fmt: skip


def test_the_tables_of_training_steps_tell_everything(capsys):
    import step_tables

    step_tables.show(canned_result())
    printed = capsys.readouterr().out
    for text in (
        "DO NOT TRUST",
        "8.00 (7.00–9.00)",
        "not installed  ",
        "failed",
        "beside a process that keeps one core busy",
        "Keras JAX: not installed (no jax)",
        "one, batch 2: Keras TF: its losses disagree",
        "another, batch 3: no time left",
    ):
        assert text in printed


def test_the_better_format_of_pytorch_counts():
    import step_tables

    quiet, beside = (step_tables.times(canned_result(), where) for where in ("quiet", "beside"))
    assert (quiet[0][-1], quiet[1][-1]) == (step_tables.RATIO, "0.500")
    assert beside[1][-2:] == ["0.500", "3.00"]
    assert ("bn, 1 thread" in quiet[0], "bn, 1 thread" in beside[0]) == (False, True)


@pytest.mark.parametrize("wrong", ["nothing like this", "("])
def test_a_wrong_choice_of_networks_is_named(wrong, capsys):
    import train_step

    with pytest.raises(SystemExit):
        train_step.arguments(["--networks", wrong])
    assert repr(wrong) in capsys.readouterr().err


def test_a_picture_shows_each_librarys_time_over_that_of_bn(tmp_path):
    import step_picture

    pytest.importorskip("matplotlib")
    result = canned_result()
    assert step_picture.ratios(result["networks"][0])["PyTorch"] == 0.5
    step_picture.draw(result, tmp_path / "steps.png")
    assert (tmp_path / "steps.png").stat().st_size > 1000
