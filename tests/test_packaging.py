"""What describes the package to others agrees with it: versions, requirements, commands."""

import re
from pathlib import Path

import pytest

import bn

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    not (ROOT / ".github").exists(), reason="the files of the checkout are not here"
)


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["CITATION.cff", ".ci/conda/recipe.yaml"])
def test_the_version_is_that_of_the_package(path):
    (version,) = re.findall(r"^ *version: (\d.*)$", text(path), re.MULTILINE)
    assert version == bn.__version__


def test_the_conda_recipe_needs_what_the_package_needs():
    needed = re.search(r"^dependencies = \[(.*)\]$", text("pyproject.toml"), re.MULTILINE)
    built = re.search(r"^requires = \[(.*)\]$", text("pyproject.toml"), re.MULTILINE)
    python = re.search(r'^requires-python = "(.*)"$', text("pyproject.toml"), re.MULTILINE)
    recipe = text(".ci/conda/recipe.yaml").replace(" >=", ">=")
    host, run = recipe.partition("\n  host:\n")[2].partition("\n  run:\n")[::2]
    for requirement in re.findall(r'"(.*?)"', built[1]):
        assert f"- {requirement}\n" in host + "\n"
    for requirement in (*re.findall(r'"(.*?)"', needed[1]), f"python{python[1]}"):
        assert f"- {requirement}\n" in run


def test_others_machines_run_the_gate_and_wheels_are_checked():
    assert "- run: .ci/run\n" in text(".github/workflows/ci.yml")
    assert "pypa/cibuildwheel@" in text(".github/workflows/wheels.yml")
    assert 'test-command = "python -W error -m bn test"' in text("pyproject.toml")
