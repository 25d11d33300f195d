"""Write what was measured into the documentation: ``python bench/pages.py``.

The numbers of a page stand between ``<!-- measured: NAME -->`` and ``<!-- end -->``. What stands
there is made from docs/measured/*.json, which ``python bench/pages.py --measure`` writes first,
within forty minutes on two cores that do nothing else; ``--measure kernels steps`` measures only
these.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import page_blocks
from measurements import COMMANDS, ROOT, file_of

PAGES = ("README*.md", "docs/*.md", "docs/*/*.md")
MARKED = re.compile(r"(<!-- measured: ([\w. -]+) -->)(.*?)(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """All pages with numbers that were measured."""
    found = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    return [path for path in found if MARKED.search(path.read_text("utf-8"))]


def written(text: str) -> str:
    """A page's text with the numbers of the files."""

    def block(match: re.Match[str]) -> str:
        made = page_blocks.make(match[2])
        # Behind a comment that begins a line, Markdown takes the line for HTML.
        begins = match.start() == 0 or text[match.start() - 1] == "\n"
        inside = f"\n{made}\n" if begins else made
        return f"{match[1]}{inside}{match[4]}"

    return MARKED.sub(block, text)


def measure(names: list[str]) -> None:
    """Run the commands of these files, one after the other."""
    for name in names:
        command = [sys.executable, *shlex.split(COMMANDS[name]), "--json", str(file_of(name))]
        print(" ".join(command[1:]), file=sys.stderr)
        subprocess.run(command, cwd=ROOT, check=True)


def main() -> None:
    """Measure what is asked for, and write the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", nargs="*", metavar="NAME", help=f"of {', '.join(COMMANDS)}")
    options = parser.parse_args()
    if unknown := set(options.measure or ()) - set(COMMANDS):
        parser.error(f"--measure takes some of {', '.join(COMMANDS)}, got {', '.join(unknown)}")
    if options.measure is not None:
        measure(options.measure or list(COMMANDS))
    texts = {path: written(path.read_text("utf-8")) for path in pages()}  # all, or none
    for path, text in texts.items():
        if text != path.read_text("utf-8"):
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
