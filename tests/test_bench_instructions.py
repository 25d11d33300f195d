"""A call that takes more instructions than its figure is noticed and named."""

import json
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench"
pytestmark = pytest.mark.skipif(not BENCH.exists(), reason="bench/ is not here")

MADE_WITH = {
    "compiler": "GCC 12.2.0",
    "compiler flags of Python": "-O3 -fwrapv",
    "Python": "3.11.7",
    "NumPy": "2.4",
}
FIGURES = {"forward": 1_000_000, "small layer, eval": 50_000}
DUMP = """# callgrind format
version: 1
desc: Trigger: Client Request: forward, 4x3 float32, channels last|10
summary: 7
fn=(1) f
1 1234560
totals: 1234560
"""


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)


def rows(measured, **made_with):
    import instructions

    committed = instructions.Counts(MADE_WITH, FIGURES)
    return instructions.compare(
        committed, instructions.Counts(MADE_WITH | made_with, FIGURES | measured)
    )


def verdicts(measured, **made_with):
    return {row.call: row.verdict for row in rows(measured, **made_with)}


def run(monkeypatch, folder, measured, *options):
    """Run the command with counts that are given, and return its exit status."""
    import instructions

    file = folder / "figures.json"
    counts = instructions.Counts(MADE_WITH, measured)
    monkeypatch.setattr(instructions, "measure", lambda: counts)
    try:
        instructions.main(["--figures", str(file), *options])
    except SystemExit as stop:
        return int(stop.code)
    return 0


# ---- the comparison ----


@pytest.mark.parametrize(
    ("percent", "verdict"),
    [(6, "SLOWER"), (4, ""), (0, ""), (-4, ""), (-6, "faster: update the figures")],
)
def test_more_than_five_percent_is_told(percent, verdict):
    found = verdicts({"forward": 10_000 * (100 + percent)})
    assert found == {"forward": verdict, "small layer, eval": ""}


def test_only_more_instructions_and_missing_figures_fail():
    assert [row.fails for row in rows({"forward": 1_060_000})] == [True, False]
    assert [row.fails for row in rows({"forward": 940_000})] == [False, False]
    assert [row.fails for row in rows({"new": 1})] == [False, False, True]


def test_another_compiler_is_told_and_judges_no_call():
    import instructions

    more = {name: 2 * count for name, count in FIGURES.items()}
    found = rows(more, compiler="GCC 14.1.0")
    assert {row.verdict for row in found} == {"not judged: compiler GCC 14.1.0"}
    assert not any(row.fails for row in found)
    told = "2 calls are not judged: the figures were not made with compiler GCC 14.1.0."
    assert instructions.conclusion(found).splitlines() == ["0 of 2 calls fail.", told]


def test_another_python_or_numpy_judges_no_small_call():
    more = {name: 2 * count for name, count in FIGURES.items()}
    assert verdicts(more, Python="3.13.0", NumPy="2.9") == {
        "forward": "SLOWER",
        "small layer, eval": "not judged: Python 3.13.0, NumPy 2.9",
    }


# ---- the command ----


def test_the_command_names_the_call_that_got_slower(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, tmp_path, FIGURES, "--update") == 0
    assert run(monkeypatch, tmp_path, FIGURES | {"forward": 1_040_000}) == 0
    capsys.readouterr()
    assert run(monkeypatch, tmp_path, FIGURES | {"forward": 1_060_000}) == 1
    printed = capsys.readouterr().out
    assert "forward            1,000,000  1,060,000  1.060  SLOWER" in printed
    assert "1 of 2 calls fail.\nforward: SLOWER" in printed


def test_the_command_names_calls_without_figures_and_figures_without_calls(
    monkeypatch, tmp_path, capsys
):
    assert run(monkeypatch, tmp_path, FIGURES, "--update") == 0
    assert run(monkeypatch, tmp_path, {"forward": 1_000_000, "new": 5}) == 1
    printed = capsys.readouterr().out
    assert "new: NO FIGURE: update the figures" in printed
    assert "small layer, eval: NO SUCH CALL: update the figures" in printed


def test_without_a_file_every_figure_is_missing(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, tmp_path, FIGURES) == 1
    printed = capsys.readouterr().out
    assert "2 of 2 calls fail." in printed
    assert "not judged" not in printed


def test_what_must_be_installed_is_named(monkeypatch):
    import instructions

    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(SystemExit, match="no-such-compiler must be installed"):
        instructions.measure()


# ---- what is counted ----


def test_callgrinds_total_is_shared_out_among_the_repeats():
    import instructions

    assert instructions.parse(DUMP) == ("forward, 4x3 float32, channels last", 123_456)


def test_a_file_without_a_total_is_not_taken_for_a_count():
    import instructions

    with pytest.raises(SystemExit, match="no total"):
        instructions.parse(DUMP.replace("totals", "other"))


def test_the_compilers_of_a_shared_object_are_found(tmp_path):
    import instruction_work

    file = tmp_path / "made.so"
    file.write_bytes(b"\x7fELF\0GCC: (Debian 12.2.0-14+deb12u1) 12.2.0\0clang version 17.0.6 (x)\0")
    assert instruction_work.compiler(file) == "GCC 12.2.0, clang 17.0.6"
    file.write_bytes(b"\x7fELF")
    assert instruction_work.compiler(file) == "unknown"


def test_only_flags_that_change_the_code_are_recorded():
    import instruction_work

    flags = "-Wsign-compare -DNDEBUG -g -fwrapv -O3 -Wall -march=native -O3"
    assert instruction_work.flags(flags) == "-O3 -fwrapv -march=native"


def test_every_committed_figure_is_of_a_call_that_works():
    import instruction_work

    names = []
    for counted in instruction_work.everything():
        counted.call()
        names.append(counted.name)
    figures = json.loads((BENCH / "instructions.json").read_text())
    assert names == list(figures["instructions"])
