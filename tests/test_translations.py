"""The Chinese pages have the headings, the code and the links of the English ones."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAIRS = [
    ("README.md", "README.zh-CN.md"),
    ("docs/tutorials/first_network.md", "docs/tutorials/first_network.zh-CN.md"),
]

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="the pages are not here")


@pytest.fixture(params=PAIRS, ids=lambda pair: pair[1])
def pair(request):
    """The texts of a page and of its translation."""
    return [(ROOT / path).read_text("utf-8") for path in request.param]


def code(text):
    """Return the code of a page without its comments, which are translated."""
    blocks = re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)
    return [(kind, re.sub(r"  # (?!fmt).*", "", block)) for kind, block in blocks]


def prose(text):
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def test_a_translation_has_as_many_headings_of_each_depth(pair):
    depths = [re.findall(r"^(#+) ", prose(text), re.MULTILINE) for text in pair]
    assert depths[0] == depths[1]


def test_a_translation_has_the_same_code(pair):
    english, chinese = map(code, pair)
    assert english == chinese and english


def test_a_translation_links_to_the_same_pages(pair):
    """Or to their translations; only the links to each other differ."""
    english, chinese = (
        {link.replace(".zh-CN", "") for link in re.findall(r"\]\(([^)]+)\)", prose(text))}
        for text in pair
    )
    assert english - {"README.md"} == chinese - {"README.md"}


def test_a_translation_has_the_same_numbers_in_its_tables(pair):
    tables = [re.findall(r"^\|.*\|$", prose(text), re.MULTILINE) for text in pair]
    numbers = [[re.findall(r"\d+(?:\.\d+)?", row) for row in rows] for rows in tables]
    assert numbers[0] == numbers[1]
