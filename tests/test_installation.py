"""`bn.test` passes here, finds what is broken, and puts threads and instruction set back."""

import re

import pytest

import bn
import bncore
from bn.cli import main
from bn.tools import installation

LINE = r"bn \S+ \(\w+, (no )?OpenMP, threads: \d+\), NumPy \S+, Python \S+, \w+ \S+: "


def test_the_installation_that_runs_the_tests_passes(capsys):
    assert bn.test()
    *checks, last = capsys.readouterr().out.splitlines()
    assert len(checks) == 7 and all(line.endswith(": ok") for line in checks)
    assert re.fullmatch(LINE + r"7 of 7 checks passed in [\d.]+ s", last)


def test_with_verbose_false_one_line_is_printed(capsys):
    assert bn.test(verbose=False)
    assert re.fullmatch(LINE + r"7 of 7 .*\n", capsys.readouterr().out)


def ten_percent_more(x, *args, **options):
    y, batch = bn.normalize_batch(x, *args, **options)
    return y * y.dtype.type(1.1), batch


def other_bits_on_three_threads(x, *args, **options):
    y, batch = bn.normalize_batch(x, *args, **options)
    return y + (bn.get_num_threads() == 3), batch


def other_bits_of_the_best(x, *args, **options):
    y, batch = bn.normalize_batch(x, *args, **options)
    return y + (bncore.selected_isa() == bncore.available_isas()[-1]), batch


def refuses(*args, **options):
    raise ValueError("no\nroom")


@pytest.mark.parametrize(
    ("name", "broken", "said"),
    [
        (
            "normalize_batch",
            ten_percent_more,
            "mean/std is 1e6: FAILED, AssertionError: normalized",
        ),
        ("normalize_batch", other_bits_on_three_threads, "3 threads give other bits than one"),
        ("normalize_batch", other_bits_of_the_best, "gives other bits than baseline"),
        ("merge", refuses, "merge to those of the whole: FAILED, ValueError: no room"),
    ],
)
def test_what_is_broken_is_named_and_settings_are_put_back(capsys, monkeypatch, name, broken, said):
    before = bncore.selected_isa(), bn.get_num_threads()
    monkeypatch.setattr(installation, name, broken)
    assert main(["test"]) == 1
    printed = capsys.readouterr().out
    assert said in printed
    assert re.search(LINE + r"[3-6] of 7 checks passed", printed)
    assert (bncore.selected_isa(), bn.get_num_threads()) == before


def test_the_command_succeeds(capsys):
    assert main(["test"]) == 0
    assert "7 of 7" in capsys.readouterr().out
