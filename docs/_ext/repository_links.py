"""Links of pages lead to the same places in the site as on GitHub.

The rule: a page in the repository's root that the site includes has a page of its name here, and a
link to it goes there. A link to any other file of the repository becomes a download of that file.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent.parent
PAGES = {  # in the root; under docs/
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
NAMES = "|".join(map(re.escape, PAGES))
INCLUDE = re.compile(rf"```\{{include\}} \.\./({NAMES})\n```")
LINK = re.compile(rf"\]\(((?:\.\./)+)({NAMES})(#[\w-]+)?\)")


def into_the_site(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put pages of the root where they are included, and lead links to them."""
    text = INCLUDE.sub(lambda include: from_the_root(include[1]), source[0])
    depth = docname.count("/")

    def page(link: re.Match[str]) -> str:
        above = link[1].count("../")
        if above != depth + 1:  # it does not lead to the root
            return link[0]
        return f"]({'../' * depth}{PAGES[link[2]]}{link[3] or ''})"

    source[0] = LINK.sub(page, text)


def from_the_root(name: str) -> str:
    """The text of a page, with its links as they are from docs/."""
    text = (ROOT / name).read_text("utf-8")
    text = re.sub(rf"\]\(({NAMES})", r"](../\1", text)
    return text.replace("](docs/", "](")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the rule for pages as they are read."""
    app.connect("source-read", into_the_site)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
