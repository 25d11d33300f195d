"""Links of pages that leave docs/ lead to the same places in the site as on GitHub.

The rule: a page in the repository's root that the site includes has a page of its name here, and a
link to it goes there. A link to any other file of the repository becomes a download of that file.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

PAGES = {  # in the root; under docs/
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
LINK = re.compile(rf"\]\(((?:\.\./)+)({'|'.join(map(re.escape, PAGES))})(#[\w-]+)?\)")


def into_the_site(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace links to pages of the root by links to those of the site."""
    depth = docname.count("/")

    def page(link: re.Match[str]) -> str:
        above = link[1].count("../")
        if above != depth + 1:  # it does not lead to the root
            return link[0]
        return f"]({'../' * depth}{PAGES[link[2]]}{link[3] or ''})"

    source[0] = LINK.sub(page, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the rule for pages as they are read."""
    app.connect("source-read", into_the_site)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
