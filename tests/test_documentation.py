"""What the documentation says is so: docstrings, their examples, and the README's code."""

import argparse
import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re
import typing
from pathlib import Path

import pytest

import bn
import bn.nn
from bn import cli

README = Path(__file__).parent.parent / "README.md"
LEFT_OUT = ("bn.__main__", "bn.torch", "bn.convert")  # it runs the command; they need frameworks


def modules(folders, prefix):
    """Yield the names of modules, without importing those that are left out."""
    for _, name, is_package in pkgutil.iter_modules(folders, prefix):
        if name not in LEFT_OUT:
            yield name
            if is_package:
                yield from modules(importlib.import_module(name).__path__, f"{name}.")


MODULES = list(modules(bn.__path__, "bn."))


@pytest.mark.parametrize("name", ["bn", *MODULES])
def test_examples_of_docstrings_run(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


# ---- docstrings ----

SECTIONS = [  # they are in numpydoc's order
    "Parameters",
    "Attributes",
    "Methods",
    "Returns",
    "Yields",
    "Receives",
    "Other Parameters",
    "Raises",
    "Warns",
    "Warnings",
    "See Also",
    "Notes",
    "References",
    "Examples",
]


def public():
    """Yield the public functions and classes with their full names."""
    for module in (bn, bn.nn, bn.nn.augment, bn.nn.models, bn.dask, bn.onnx, bn.memory):
        for name in module.__all__:
            if callable(thing := getattr(module, name)):
                yield f"{module.__name__}.{name}", thing


PUBLIC = dict(public())

# This is still missing. Whoever adds it takes the name away from here.


def sections(thing):
    """Return the lines of each section of a docstring in order; the title of the first is empty."""
    lines, title = inspect.cleandoc(thing.__doc__).splitlines(), ""
    found = {title: []}
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line and following == "-" * len(line):
            title = line
            assert title not in found, f"{title} is there twice"
            found[title] = []
        elif line != "-" * len(title) or not title:
            found[title].append(line)
    return found


def documented(thing, title):
    """Return the names that a section describes: three for ``x, weight, bias : ndarray``."""
    names = []
    for line in sections(thing).get(title, []):
        if line and not line.startswith(" "):
            names += [name.strip().lstrip("*") for name in line.partition(" : ")[0].split(",")]
    return names


def arguments(thing):
    """Return the names in a signature."""
    if typing.is_typeddict(thing):
        return list(thing.__annotations__)
    if isinstance(thing, type) and issubclass(thing, Exception):
        return []
    return [name for name in inspect.signature(thing).parameters if name != "self"]


def is_record(thing):
    """Tell whether it is a class whose arguments are its attributes."""
    return dataclasses.is_dataclass(thing) or typing.is_typeddict(thing)


def undocumented(thing):
    """Return the names that only the signature has, and those that only the docstring has."""
    if is_record(thing) and not documented(thing, "Parameters"):
        more = set(dir(thing))  # properties may be documented too
        names = set(documented(thing, "Attributes"))
        return set(arguments(thing)) - names, names - set(arguments(thing)) - more
    names = set(documented(thing, "Parameters"))
    return set(arguments(thing)) - names, names - set(arguments(thing))


def test_sections_and_the_names_in_them_are_found():
    def example(x, weight, *layers):
        """What it does.

        Parameters
        ----------
        x, weight : ndarray
            Whatever: it is.
        *more
            Others.
        """

    assert list(sections(example)) == ["", "Parameters"]
    assert documented(example, "Parameters") == ["x", "weight", "more"]
    assert undocumented(example) == ({"layers"}, {"more"})


@pytest.mark.parametrize("name", PUBLIC)
def test_each_parameter_of_a_public_function_or_class_is_documented(name):
    missing, unknown = undocumented(PUBLIC[name])
    assert not unknown
    assert not missing


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_function_or_class_has_an_example_that_runs(name):
    tests = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name)
    results = [doctest.DocTestRunner().run(test) for test in tests]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) > 0


@pytest.mark.parametrize("name", PUBLIC)
def test_the_sections_of_a_public_docstring_stand_in_numpydocs_order(name):
    titles = [title for title in sections(PUBLIC[name]) if title]
    assert titles == [title for title in SECTIONS if title in titles]


# ---- pages ----

TUTORIALS = [
    f"docs/tutorials/{name}.md"
    for name in ("first_network", "own_loop", "masks_and_sequences", "small_batches", "serving")
]
RUNNING = [
    "README.md",
    "README.zh-CN.md",
    "docs/index.md",
    "docs/howto/common.md",
    "docs/howto/evaluation.md",
    "docs/models.md",
    "docs/design.md",
    "docs/big_data.md",
    "docs/files.md",
    *TUTORIALS,
    "docs/tutorials/first_network.zh-CN.md",
]
PAGES = [*RUNNING, "docs/semantics.md", "docs/distributed.md"]


@pytest.mark.parametrize("page", RUNNING)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (README.parent / page).read_text(), re.DOTALL)
    assert blocks
    exec("\n".join(blocks), {"__name__": "page"})


def test_the_quick_start_is_two_commands_of_one_line():
    section = README.read_text().split("## Quick start")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert [len(b.splitlines()) for b in blocks] == [1, 1]


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page):
    text = (README.parent / page).read_text()
    names = set(re.findall(r"`?\bbn\.([a-zA-Z_]\w*)", text)) - {"layers", "torch"}
    assert names
    for name in names:
        assert hasattr(bn, name), name
    for name in set(re.findall(r"`(test_[a-z_]+)`", text)):
        assert (README.parent / "tests" / f"{name}.py").exists(), name


def words(*pages):
    """Return the words in the code of pages."""
    text = "".join((README.parent / page).read_text("utf-8") for page in pages)
    code = re.findall(r"```(.*?)```|`([^`]+)`", text, re.DOTALL)
    return set(re.findall(r"[\w-]+", " ".join(block + line for block, line in code)))


def test_a_page_has_every_name_of_the_pipeline():
    names = {*bn.nn.__all__, *bn.nn.augment.__all__} - {"Augmentation"}  # a type
    pages = ("docs/models.md", "docs/howto/common.md", "docs/distributed.md")
    assert names - words(*pages) == set()


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda each: each.__name__)
def test_a_page_has_every_option_of_a_command(command):
    parser = argparse.ArgumentParser(add_help=False)
    command.add_arguments(parser)
    options = {option for action in parser._actions for option in action.option_strings}
    assert options - words("docs/howto/common.md") == set()


def test_a_page_has_every_variable_of_the_environment():
    sources = [README.parent / "setup.py", *(README.parent / "python").rglob("*.py")]
    used = {each for path in sources for each in re.findall(r'"(BN_[A-Z_]+)"', path.read_text())}
    assert used - words("docs/howto/common.md", "CONTRIBUTING.md") == set()
    assert used


def test_a_page_has_every_extra():
    table = (README.parent / "pyproject.toml").read_text().split("[project.optional-dependencies]")
    extras = set(re.findall(r"^(\w+) = \[", table[1].split("\n[")[0], re.MULTILINE))
    known = words("docs/howto/common.md", "docs/performance.md", "README.md", "CONTRIBUTING.md")
    assert extras - known == set()
