"""Excerpts of the search where the site is opened as files, without a server.

Sphinx's search page fetches each page that it found, and shows the place. Browsers do not let a
page that is a file fetch another one. So the texts of all pages are written into one script, which
only the search page loads, and ``search_excerpts.js`` answers from it.
"""

from __future__ import annotations

import json
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx


def add_scripts(app: Sphinx, pagename: str, *_) -> None:
    """Add the texts, and what reads them, to the search page."""
    if pagename == "search":
        app.add_js_file("page_texts.js")
        app.add_js_file("search_excerpts.js")


def text_of(page: nodes.document) -> str:
    """Return what a reader sees of a page, without comments and the HTML around it."""
    for node in list(page.findall(lambda node: isinstance(node, nodes.comment | nodes.raw))):
        node.parent.remove(node)
    return page.astext()


def write_texts(app: Sphinx, error: Exception | None) -> None:
    """Write the text of each page, ``pageTexts[name]``, into the output."""
    if error or app.builder.name != "html":
        return
    env = app.env
    texts = {name: text_of(env.get_doctree(name)) for name in sorted(env.found_docs)}
    script = f"const pageTexts = {json.dumps(texts, ensure_ascii=False)};\n"
    Path(app.outdir, "_static", "page_texts.js").write_text(script, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both."""
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", write_texts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
