"""The scripts of the gallery run, draw, and leave everything as it was; they become notebooks.

Each of them asserts what its text says, so that running it is the test of it.
"""

import ast
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bn

GALLERY = Path(__file__).parents[1] / "examples" / "gallery"
SCRIPTS = sorted(GALLERY.glob("plot_*.py"))  # none where examples/ is not here
CONVERT = "from sphinx_gallery.notebook import python_to_jupyter_cli as main; main()"
# In a process of its own: the client has threads and sockets, whose warnings would be errors here.
RUN = """
import sys, nbclient, nbformat
book = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(book, timeout=60, kernel_name="python3").execute()
nbformat.write(book, sys.argv[1])
"""

pytestmark = pytest.mark.skipif(not SCRIPTS, reason="examples/ is not here")


@pytest.fixture
def plt():
    """Return pyplot, which draws into memory and has no figures before and after a test."""
    for package in ("sklearn", "mlxtend"):
        pytest.importorskip(package)
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"backend": "agg"}):
        pyplot = pytest.importorskip("matplotlib.pyplot")
        pyplot.switch_backend("agg")
        pyplot.close("all")
        yield pyplot
        pyplot.close("all")


def global_state():
    """Return what a script could change for those that run after it."""
    kind, keys, *place = np.random.get_state()  # noqa: NPY002
    return bn.get_num_threads(), kind, keys.tolist(), place, np.geterr(), np.get_printoptions()


def converted(folder, scripts):
    """Return the notebooks of scripts, which are written into a folder."""
    pytest.importorskip("sphinx_gallery")
    copies = [folder / script.name for script in scripts]
    for script, copy in zip(scripts, copies, strict=True):
        copy.write_text(script.read_text("utf-8"), "utf-8")
    command = [sys.executable, "-c", CONVERT, *map(str, copies)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [copy.with_suffix(".ipynb") for copy in copies]


def test_the_gallery_has_at_least_twelve_scripts():
    assert len(SCRIPTS) >= 12


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_runs_draws_and_changes_no_global_state(script, plt):
    before = global_state()

    runpy.run_path(str(script), run_name="__main__")

    figures = [plt.figure(number) for number in plt.get_fignums()]
    assert figures
    for figure in figures:
        figure.canvas.draw()  # labels that cannot be drawn are errors too
    assert global_state() == before


def test_every_script_becomes_a_notebook_with_its_title_and_all_its_code(tmp_path):
    for script, path in zip(SCRIPTS, converted(tmp_path, SCRIPTS), strict=True):
        first, *cells = json.loads(path.read_text("utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        title, *statements = ast.parse(script.read_text("utf-8")).body
        heading = ast.literal_eval(title.value).strip().splitlines()[0]

        assert first["cell_type"] == "markdown"
        assert "".join(first["source"]).strip().startswith(f"# {heading}")
        found = ast.parse("\n".join(code)).body
        assert [*map(ast.dump, found)] == [*map(ast.dump, statements)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_runs_as_a_notebook_and_shows_its_pictures(script, tmp_path):
    for package in ("nbclient", "ipykernel", "matplotlib", "sklearn"):
        pytest.importorskip(package)
    (path,) = converted(tmp_path, [script])
    names = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")
    env = os.environ | {name: str(tmp_path) for name in names}  # nothing of the user's is read

    command = [sys.executable, "-c", RUN, str(path)]
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-2000:]
    cells = json.loads(path.read_text("utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    assert [output for output in outputs if "image/png" in output.get("data", {})]
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []
