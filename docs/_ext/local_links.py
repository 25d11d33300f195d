"""After a build, every link, picture and script of every page leads to a file of the site.

Sphinx checks references, but neither links in HTML nor those of cards, nor what a theme adds.
"""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

LOADED = {"img": "src", "script": "src", "link": "href", "source": "src", "iframe": "src"}


class Page(HTMLParser):
    """The places of a page that links may lead to, its links, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = {"", "top"}
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names, links to and loads."""
        found = {name: value for name, value in attrs if value}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.add(found["href"])
        if tag in LOADED and LOADED[tag] in found:
            self.loads.add(found[LOADED[tag]])


def broken(folder: Path) -> list[str]:
    """What leads nowhere, or is loaded from the network, in the pages of a folder."""
    paths = [path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts]
    pages = {path: Page(path.read_text("utf-8")) for path in paths}
    found = []
    for path, page in pages.items():
        for link in sorted(page.links | page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                what = "is loaded from the network" if link in page.loads else None
            else:
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                if not target.is_file():
                    what = "is no file"
                elif target in pages and unquote(parts.fragment) not in pages[target].places:
                    what = "is no place of that page"
                else:
                    what = None
            if what and not link.startswith("data:"):
                found.append(f"{path.relative_to(folder)}: {link} {what}")
    return found


def check(app: Sphinx, error: Exception | None) -> None:
    """Fail if a link of the site is broken."""
    if error is None and app.builder.name == "html" and (found := broken(Path(app.outdir))):
        raise ExtensionError("broken links:\n" + "\n".join(found))


def setup(app: Sphinx) -> dict[str, bool]:
    """Check the links when the site is built."""
    app.connect("build-finished", check, priority=999)  # when all others have written their files
    return {"parallel_read_safe": True, "parallel_write_safe": True}
