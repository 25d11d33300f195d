"""What the documentation says of other frameworks is so."""

import doctest
import importlib
import pkgutil
import re

import pytest
import test_documentation as others

import bn

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # JAX and Flax cause some
]

PAGE = others.README.parent / "docs" / "interchange.md"
MODULES = [name for _, name, _ in pkgutil.iter_modules(bn.convert.__path__)]


@pytest.fixture(autouse=True)
def _frameworks(torch, keras):
    for name in ("jax", "flax"):
        pytest.importorskip(name)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(f"bn.convert.{name}")).failed == 0


@pytest.mark.parametrize("name", bn.convert.__all__)
def test_docstrings_have_all_parameters_the_sections_in_order_and_an_example(name):
    function = getattr(bn.convert, name)
    assert others.undocumented(function) == (set(), set())
    titles = [title for title in others.sections(function) if title]
    assert titles == [title for title in others.SECTIONS if title in titles]
    assert "Examples" in titles


def test_the_code_of_the_page_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec("\n".join(blocks), {"__name__": "page"})
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert without_rounding(capsys.readouterr().out) == without_rounding(shown)


def without_rounding(text):
    """Leave out the numbers that rounding decides, which differ between processors."""
    return re.sub(r"\d(\.\d+)?e-0[789]", "#", text)


def test_what_the_page_names_is_there():
    for name in re.findall(r"bn\.convert\.(\w+)", PAGE.read_text()):
        assert hasattr(bn.convert, name), name
