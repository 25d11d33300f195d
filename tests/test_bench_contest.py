"""Libraries that make the same calls: who fails is told, and the others are timed."""

import argparse
import json
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"
pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="bench/ is not here")


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)


def sound(case, threads):
    return {"sum": lambda: sum(range(case))}


def failing(case, threads):
    if case > 100:
        raise ValueError(f"{case} is too much\nand more")
    return sound(case, threads)


def absent(case, threads):
    import no_such_library  # noqa: F401


def test_everybody_is_timed_but_who_fails():
    from contest import contest, median, ratio

    libraries = {"bn": sound, "failing": failing, "absent": absent}
    options = argparse.Namespace(threads=1, repeat=2)
    small, large = contest(libraries, {"small": 100, "large": 1000}, options)["cases"]
    assert (small["title"], large["title"]) == ("small", "large")
    assert set(small["times"]) == {"bn", "failing"} and set(large["times"]) == {"bn"}
    assert "no_such_library" in small["problems"]["absent"]
    assert large["problems"]["failing"] == "ValueError: 1000 is too much"
    assert len(small["times"]["bn"]["sum"]["turns"]) == 2
    assert 0 < median(small, "bn", "sum") < median(large, "bn", "sum") < 1
    assert ratio(small, "bn", "sum") == 1
    assert ratio(small, "absent", "sum") is None


def test_calls_of_one_process_take_turns():
    from rounds import in_turns

    made = []
    calls = {name: lambda name=name: made.append(name) for name in "ab"}
    found = in_turns(calls, 2)
    assert made == ["a", "b", "b", "a"]
    assert len(found["a"]["clock"]["turns"]) == 2 and set(found["b"]) == {"clock", "cpu"}
    made.clear()
    in_turns(calls, 1, count=2)
    assert made == ["a"] * 3 + ["b"] * 3  # one call that fills the caches


def test_a_file_keeps_everything_in_short_lines(tmp_path):
    from results import write

    result = {"a": [{"b": 1.23456789, "c": None, "d": "µ"}] * 20, "e": {"f": (1, 2)}}
    write(result, tmp_path / "new" / "file.json")
    text = (tmp_path / "new" / "file.json").read_text("utf-8")
    assert json.loads(text) == {"a": [{"b": 1.235, "c": None, "d": "µ"}] * 20, "e": {"f": [1, 2]}}
    assert max(map(len, text.splitlines())) <= 240 and "\n  {" in text


def test_ratios_have_more_digits_where_they_tell_who_is_faster():
    from tables import number, ratio

    assert [ratio(v) for v in (0.944, 1.04, 2.44, None)] == ["0.94", "1.04", "2.4", "–"]
    assert [number(v) for v in (0.012345, 99.4, 123.4, None)] == ["0.0123", "99.4", "123", "–"]


@pytest.mark.parametrize("module", ["convolutions", "layers", "optimizers", "family"])
def test_the_calls_of_bn_can_be_made(module):
    """On the smallest case, and the tables are there without the peers."""
    import importlib

    from contest import Work

    bench = importlib.import_module(module)
    if module == "family":
        make, cases = lambda case, threads: bench.calls("bn", case, threads), bench.CASES
        case = cases["LayerNorm 64 × 128 × 64"]
    elif module == "convolutions":
        make, case = bench.ours, (2, 3, 4, 8, 3, 1, 1)
    elif module == "layers":
        make, case = bench.ours, bench.Layer("ELU", (2, 3, 4, 4))
    else:
        make, case = bench.ours, ("conv 16", "Adam")
    work = Work(make, 1)
    assert work.setup(case) is None
    times = work.measure()
    assert times and all(value > 0 for value in times.values())
    told = {"title": "x", "times": {"bn": {k: {"median": v} for k, v in times.items()}}}
    rows = (
        bench.rows({"cases": [told]}, {"x"})
        if module == "layers"
        else bench.rows({"cases": [told]})
    )
    assert rows[1][0] == "x" and "–" in rows[1][-1] + rows[1][1]
