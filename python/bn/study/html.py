"""The report as one HTML file, which needs no other."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from bn.nn.replacing import replacing
from bn.study import pictures
from bn.study.conclusion import Table
from bn.study.report import SUMMARY, Chapter, introduction, machine_lines
from bn.study.store import Store

CSS = """
:root { color-scheme: light dark; --line: #8884; --mild: #8882; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; }
body { padding: 0 1rem; }
h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
.title { font-weight: 600; margin: 1.5rem 0 -0.7rem; }
th, td { border-bottom: 1px solid var(--line); padding: 0.3rem 0.8rem 0.3rem 0; text-align: left; }
td + td { font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; background: #fff; border-radius: 6px; padding: 0.5rem; }
figure svg { width: 100%; height: auto; display: block; }
.verdict { background: var(--mild); border-radius: 6px; padding: 0.6rem 1rem; }
.small { font-size: 0.9rem; opacity: 0.85; }
"""


def write_html(path: Path, written: Sequence[Chapter], store: Store) -> None:
    """Write the report, with its pictures inside."""
    rows = "".join(
        f'<tr><td><a href="#{c.study.name}">{escape(c.study.claim)}</a></td>'
        f"<td>{escape(c.verdict)}</td><td>{_text(c.conclusion.figure)}</td></tr>"
        for c in written
    )
    head = "".join(f"<th>{word}</th>" for word in SUMMARY)
    machine = "; ".join(machine_lines(store))
    body = (
        f"<h1>What batch normalization does, measured</h1><p>{_text(introduction(store))}</p>"
        f"<table><tr>{head}</tr>{rows}</table>"
        f'<p class="small">{escape(machine)}</p>' + "".join(map(_html_chapter, written))
    )
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>What batch normalization does, measured</title><style>{CSS}</style></head>"
        f"<body>{body}</body></html>\n"
    )
    with replacing(path) as file:
        file.write(text.encode())


def _html_chapter(chapter: Chapter) -> str:
    study, conclusion = chapter.study, chapter.conclusion
    figures = "".join(f"<figure>{pictures.svg(chart)}</figure>" for chart in conclusion.charts)
    tables = "".join(map(_html_table, conclusion.tables))
    notes = "".join(f"<li>{escape(note)}</li>" for note in chapter.notes)
    return (
        f'<h2 id="{study.name}">{study.name}</h2><p><b>Claim.</b> {escape(study.claim)}</p>'
        f'<p class="verdict"><b>{escape(chapter.heading)}</b> {_text(chapter.text)}</p>'
        f"{figures}{tables}<p><b>Method.</b> {escape(study.method)}</p>"
        f"<p><b>Compared with.</b> {escape(study.source)}</p>"
        f'<ul class="small">{notes}</ul>'
    )


def _text(text: str) -> str:
    """Escaped, and without breaks of lines within a number and its interval or its sign."""
    return (
        escape(text)
        .replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
        .replace(" %", "\N{NO-BREAK SPACE}%")
    )


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{escape(word)}</th>" for word in table.head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_text(str(cell))}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    title = escape(table.title)  # not a caption, which would scroll with a wide table
    return f'<p class="title">{title}</p><table aria-label="{title}"><tr>{head}</tr>{rows}</table>'
