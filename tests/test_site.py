"""The site's sources have every public name and every page, and load nothing from the network.

`sphinx-build -W` itself runs in the gate, where a broken link is an error.
"""

import re
from pathlib import Path

import pytest

import bn
from bn import nn
from bn.keras import layers

DOCS = Path(__file__).parent.parent / "docs"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the pages are not here")


PUBLIC = {
    "bn": bn.__all__,
    "bn.nn": nn.__all__,
    "bn.nn.augment": nn.augment.__all__,
    "bn.nn.models": nn.models.__all__,
    "bn.keras.layers": layers.__all__,
}
LEFT_OUT = {
    "__version__",
    "dask",
    "memory",
    "mpi",
    "onnx",
    "augment",
    "models",
    "convert",
}  # modules


def documented():
    """Yield the full names in the reference."""
    for page in (DOCS / "api").glob("*.rst"):
        module, listing = "", False
        for line in page.read_text("utf-8").splitlines():
            if found := re.match(r"\.\. currentmodule:: (\S+)", line):
                module = found[1]
            if line and not line.startswith(" "):
                listing = line.startswith(".. autosummary::")
            elif listing and (name := re.fullmatch(r"   ([\w.]+)", line)):
                yield f"{module}.{name[1]}"


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module):
    known = {name.rpartition(".")[2] for name in documented()}
    assert set(PUBLIC[module]) - LEFT_OUT - known == set()


def test_a_name_is_in_the_reference_once():
    names = list(documented())
    assert len(names) == len(set(names)) > 200


def entries(page):
    """Yield the pages that the toctrees of a page list, as paths from docs/."""
    text = page.read_text("utf-8")
    trees = re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL)
    trees += re.findall(r"\.\. toctree::\n((?:[ \t].*\n|\n)+)", text)
    for line in "\n".join(trees).splitlines():
        word = line.strip()
        if word and not word.startswith(":"):
            place = word[1:] if word.startswith("/") else page.parent.relative_to(DOCS) / word
            yield Path(place).as_posix()


def test_every_page_is_reached_from_the_landing_page():
    pages = {
        path.relative_to(DOCS).with_suffix("").as_posix(): path
        for ending in ("*.md", "*.rst")
        for path in DOCS.rglob(ending)
        if not {"_build", "generated", "gallery", "_templates"} & set(path.parts)
    }
    reached, left = set(), ["index"]
    while left:
        name = left.pop()
        if name not in reached and name in pages:
            reached.add(name)
            left += entries(pages[name])
    assert set(pages) - reached - {"sg_execution_times"} == set()


def test_no_page_loads_anything_from_the_network():
    sources = [DOCS / "conf.py", *DOCS.glob("_*/**/*.*")]
    for path in [path for path in sources if "_build" not in path.parts]:
        if path.suffix in (".py", ".css", ".html", ".rst", ".js"):
            assert not re.search(r"https?://", path.read_text("utf-8")), path
    for path in DOCS.rglob("*.md"):
        if "_build" not in path.parts:
            assert not re.search(r"!\[[^]]*\]\(https?:|<(script|link|img)", path.read_text("utf-8"))


def test_links_that_lead_nowhere_fail_the_build(tmp_path, monkeypatch):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(DOCS / "_ext")
    from local_links import broken

    (tmp_path / "a.html").write_text(
        '<h1 id="here">A</h1><a href="#here"></a><a href="b.html#there"></a>'
        '<a href="b.html#nowhere"></a><a href="c.html"></a><a href="https://example.org"></a>'
        '<img src="https://example.org/x.png"><img src="data:image/png;base64,">'
    )
    (tmp_path / "b.html").write_text('<a name="there"></a>')
    assert broken(tmp_path) == [
        "a.html: b.html#nowhere is no place of that page",
        "a.html: c.html is no file",
        "a.html: https://example.org/x.png is loaded from the network",
    ]
