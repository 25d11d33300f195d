"""The numbers of the pages are those of the files that the benchmarks wrote."""

import re
from pathlib import Path

import pytest

pytest.importorskip("dask")

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "bench"
NUMBER = re.compile(r"\d+(?:\.\d+)?")
FIRST_PAGES = ["README.md", "README.zh-CN.md", "docs/index.md", "docs/performance.md"]

pytestmark = pytest.mark.skipif(
    not (BENCH.exists() and (ROOT / "docs").exists()), reason="the pages are not here"
)


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)


def all_pages():
    import pages

    return pages.pages()


def test_every_page_has_the_numbers_of_the_files():
    from pages import written

    assert {str(path.relative_to(ROOT)) for path in all_pages()} >= set(FIRST_PAGES)
    for path in all_pages():
        text = path.read_text("utf-8")
        assert written(text) == text, f"{path.name}: run `python bench/pages.py`"


def test_another_number_on_a_page_is_noticed():
    from pages import written

    text = "<!-- measured: steps.pytorch -->99<!-- end -->"
    assert "99" not in written(text)


def test_every_mark_has_its_end_and_stands_within_a_line_or_around_lines():
    for path in all_pages():
        text = path.read_text("utf-8")
        marks = re.findall(r"<!-- (measured|end)\b", text)
        assert marks == ["measured", "end"] * (len(marks) // 2), path.name
        for line in text.splitlines():
            # A comment that begins a line is HTML up to its end: what follows is no Markdown.
            if line.startswith("<!--"):
                assert re.fullmatch(r"<!-- (measured: [\w. -]+|end) -->", line), (path.name, line)


def test_every_table_of_the_performance_page_is_written_from_a_file():
    text = (ROOT / "docs" / "performance.md").read_text("utf-8")
    outside = re.sub(r"<!-- measured.*?<!-- end -->", "", text, flags=re.DOTALL)
    for line in outside.splitlines():
        if line.startswith("|") and not line.startswith("|-"):
            cells = line.split("|")[2:-2]
            assert not any(NUMBER.search(cell) for cell in cells), line


def test_every_measurement_has_a_command_and_is_shown():
    from measurements import COMMANDS, MEASURED

    assert {path.stem for path in MEASURED.iterdir()} == set(COMMANDS)
    text = "".join(path.read_text("utf-8") for path in all_pages())
    for name, command in COMMANDS.items():
        assert f"measured: origin {name} " in text, name
        assert (ROOT / command.split()[0]).exists()


def test_nothing_was_measured_while_others_used_the_machine():
    from measurements import COMMANDS, read

    for name in COMMANDS:
        assert read(name)["machine"]["others"] < 0.1, name
