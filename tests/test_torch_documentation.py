"""What the documentation says of `bn.torch` is so."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import test_documentation as others

pytestmark = pytest.mark.parity

PAGE = Path(__file__).parent.parent / "docs" / "pytorch.md"
FOLDER = Path(__file__).parent.parent / "python" / "bn" / "torch"
MODULES = [name for _, name, _ in pkgutil.iter_modules([str(FOLDER)])]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_run(ours, name):
    assert doctest.testmod(importlib.import_module(f"bn.torch.{name}")).failed == 0


def test_each_parameter_is_documented(ours):
    for name in ours.__all__:
        missing, unknown = others.undocumented(getattr(ours, name))
        assert (missing, unknown) == (set(), set()), name


def test_sections_stand_in_numpydocs_order_and_there_is_an_example(ours):
    for name in ours.__all__:
        titles = [title for title in others.sections(getattr(ours, name)) if title]
        assert titles == [title for title in others.SECTIONS if title in titles], name
        assert "Examples" in titles, name


def test_the_code_of_the_page_runs(ours, capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec("\n".join(blocks), {"__name__": "page"})
    (report,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert capsys.readouterr().out == report


def test_what_the_page_names_is_there(ours):
    for name in re.findall(r"bn\.torch\.(\w+)", PAGE.read_text()):
        assert hasattr(ours, name), name
