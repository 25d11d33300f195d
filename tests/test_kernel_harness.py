"""The kernels, in a program without Python, agree with long double, without vector types too."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CORE = HERE.parent / "bncore"

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32" or not shutil.which("cc"), reason="no C compiler"),
    pytest.mark.skipif(not CORE.exists(), reason="the sources are not here"),
]


def check(folder, *options):
    """Compile the harness with these options, run it, and return what it printed."""
    program = folder / "kernel_harness"
    sources = [HERE / "kernel_harness.c", *sorted(CORE.rglob("*.c"))]
    exact = ["-ffp-contract=off", "-pthread", f"-I{CORE}"]
    command = ["cc", *options, *exact, *sources, "-o", program, "-lm"]
    subprocess.run(command, check=True, timeout=600)
    result = subprocess.run([program], capture_output=True, text=True, timeout=600, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_kernels_without_vector_types_agree_with_long_double(tmp_path):
    assert check(tmp_path, "-O0", "-DBN_VECTORS=0") == "baseline: 0 wrong\n"


@pytest.mark.slow  # compiling all instruction sets takes a minute
def test_kernels_of_each_instruction_set_agree_with_long_double(tmp_path):
    assert "baseline: 0 wrong\n" in check(tmp_path, "-O1")
