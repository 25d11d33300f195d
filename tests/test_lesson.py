"""The lesson runs as a notebook; its cells assert what its text says of the numbers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LESSON = Path(__file__).parents[1] / "examples" / "lesson.ipynb"
# In a process of its own: the client has threads and sockets, whose warnings would be errors here.
RUN = """
import sys, nbclient, nbformat
book = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
nbformat.write(book, sys.argv[2])
"""

pytestmark = pytest.mark.skipif(not LESSON.exists(), reason="examples/ is not here")


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    """Return the lesson after a run of all its cells, which must not fail."""
    for package in ("nbclient", "ipykernel", "sklearn", "matplotlib"):
        pytest.importorskip(package)
    import nbformat

    folder = tmp_path_factory.mktemp("lesson")
    names = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")
    env = os.environ | {name: str(folder) for name in names}  # nothing of the user's is read
    command = [sys.executable, "-c", RUN, str(LESSON), str(folder / "run.ipynb")]
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return nbformat.read(folder / "run.ipynb", 4)


def outputs(lesson, kind):
    """Return all outputs of one MIME type, or the printed text."""
    found = [output for cell in lesson.cells for output in cell.get("outputs", ())]
    if kind == "stream":
        return [output.text for output in found if output.output_type == "stream"]
    return [output.data[kind] for output in found if kind in output.get("data", {})]


def test_every_cell_of_the_lesson_runs_without_an_error_or_a_warning(lesson):
    streams = [o for c in lesson.cells for o in c.get("outputs", ()) if o.output_type == "stream"]
    assert [o.text for o in streams if o.name == "stderr"] == []
    assert "".join(outputs(lesson, "stream")).count("%") >= 9


def test_the_lesson_shows_two_pictures_and_three_tables(lesson):
    assert len(outputs(lesson, "image/png")) == 2
    assert [text.count("<table>") for text in outputs(lesson, "text/html")] == [1, 1, 1]
