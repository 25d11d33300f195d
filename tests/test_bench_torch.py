"""The benchmark of PyTorch's models compares what has the same losses, in the better format."""

from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"
pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="bench/ is not here")


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)


def times(**medians):
    names = {
        "plain": "PyTorch",
        "plain_cl": "PyTorch cl",
        "ours": "bn.torch",
        "ours_cl": "bn.torch cl",
    }
    return {names[key]: {"median": value} for key, value in medians.items()}


def test_the_better_memory_formats_are_compared():
    from torch_step import rows, speed_up

    found = times(plain=4.0, plain_cl=3.0, ours=2.0, ours_cl=5.0)
    assert speed_up(found) == 1.5
    assert speed_up(times(plain=4.0)) is None
    table = rows([{"title": "net", "aim": 1.2, "times": found}])
    assert table[1] == ["net", "4.00", "3.00", "2.00", "5.00", "1.50", "1.2"]


def test_other_losses_than_those_of_pytorch_are_a_problem():
    from torch_step import Start, wrong

    starts = {"PyTorch": Start((2.0, 1.0))}
    assert wrong(Start((2.0, 1.0 + 1e-4)), starts) is None
    assert wrong(Start((2.0, 1.1)), starts) == "losses differ by 1.0e-01"
    assert wrong(Start(problem="no"), starts) == "no"


@pytest.mark.parity
def test_each_case_can_be_timed():
    pytest.importorskip("torch")
    import torch_cases
    from torch_step import Work

    number = [case.title for case in torch_cases.CASES].index("BN, (1, 16, 4, 4)")
    plain, ours = (Work(name, 2) for name in ("PyTorch", "bn.torch cl"))
    losses = plain.start(number, 20).losses
    assert len(losses) == 20
    assert ours.start(number, 20).losses == pytest.approx(losses, abs=1e-5)
    assert plain.measure() > 0
