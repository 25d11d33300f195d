"""What the documentation shows works: the examples of docstrings, and the README's code."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import bn

README = Path(__file__).parent.parent / "README.md"
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(bn.__path__, "bn.")
    if name != "bn.__main__"  # runs the command
]


@pytest.mark.parametrize("name", ["bn", *MODULES])
def test_examples_of_docstrings_run(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


def public():
    from bn import nn

    for module in (bn, nn):
        for name in module.__all__:
            if not name.startswith("_"):
                yield f"{module.__name__}.{name}", getattr(module, name)


@pytest.mark.parametrize(("name", "thing"), list(public()))
def test_everything_public_has_a_docstring_with_an_example_or_a_parameter_list(name, thing):
    text = thing.__doc__ or ""
    assert ">>>" in text or "Attributes" in text, name


def test_the_readmes_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    exec("\n".join(blocks), {})


def test_the_quick_start_is_two_commands_of_one_line():
    section = README.read_text().split("## Quick start")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert [len(b.splitlines()) for b in blocks] == [1, 1]


@pytest.mark.parametrize("page", ["README.md", "docs/semantics.md"])
def test_what_a_page_names_is_there(page):
    text = (README.parent / page).read_text()
    names = set(re.findall(r"`?\bbn\.([a-zA-Z_]\w*)", text)) - {"layers"}
    assert len(names) > 10
    for name in names:
        assert hasattr(bn, name), name
    for name in set(re.findall(r"`(test_[a-z_]+)`", text)):
        assert (README.parent / "tests" / f"{name}.py").exists(), name
