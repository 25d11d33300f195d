"""The report as a page of Markdown, with its pictures as files of SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bn.nn.replacing import replacing
from bn.study import pictures
from bn.study.conclusion import Cell, Chart
from bn.study.report import SUMMARY, Chapter, introduction, machine_lines
from bn.study.store import Store

INTRODUCTION = """\
# What batch normalization does, measured

`python -m bn study all` measured what this page tells, and wrote the page. The same machine gives
the same numbers again. On another one NumPy's BLAS may round otherwise, and from another last
digit a training can come to another accuracy."""


def write_markdown(path: Path, written: Sequence[Chapter], store: Store) -> None:
    """Write the report as a page, and its pictures into a folder with the page's name."""
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)

    def put(chart: Chart, name: str) -> str:
        with replacing(folder / name) as file:
            file.write((pictures.svg(chart) + "\n").encode())
        return f"{folder.name}/{name}"

    rows = [
        (f"[{c.study.claim}](#{c.study.name})", c.verdict, c.conclusion.figure) for c in written
    ]
    parts = [
        INTRODUCTION,
        introduction(store),
        _markdown_table(SUMMARY, rows),
        "\n".join(f"- {line}" for line in machine_lines(store)),
        *(_markdown_chapter(chapter, put) for chapter in written),
    ]
    with replacing(path) as file:
        file.write(("\n\n".join(parts) + "\n").encode())


def _markdown_chapter(chapter: Chapter, put: Callable[[Chart, str], str]) -> str:
    study, conclusion = chapter.study, chapter.conclusion
    charts = [
        f"![{chart.title}]({put(chart, f'{study.name}-{i}.svg')})"
        for i, chart in enumerate(conclusion.charts, 1)
    ]
    tables = [
        f"{table.title}:\n\n{_markdown_table(table.head, table.rows)}"
        for table in conclusion.tables
    ]
    parts = [
        f"## {study.name}",
        f"**Claim.** {study.claim}",
        f"**{chapter.heading}** {chapter.text}",
        *charts,
        *tables,
        f"**Method.** {study.method}",
        f"**Compared with.** {study.source}",
        "\n".join(f"- {note}" for note in chapter.notes),
    ]
    return "\n\n".join(parts)


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
