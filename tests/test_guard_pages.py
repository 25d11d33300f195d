"""No kernel reads or writes beyond an array: guard pages end the process that does.

`guard_cases` has the table of calls. Each of its programs runs in a process of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bncore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mmap and mprotect of Linux")
TESTS = Path(__file__).parent
PLACES = ["end", "start"]  # of arrays, at which the guard page is


def run(isa, place, size):
    """Run the table, and return its last line; it must end without a crash or an exception."""
    command = [sys.executable, str(TESTS / "guard_cases.py"), place, size]
    result = subprocess.run(
        command, env=os.environ | {"BN_ISA": isa}, capture_output=True, text=True, check=False
    )
    lines = result.stdout.splitlines() or ["nothing"]
    assert result.returncode == 0, f"ended in {lines[-1]}\n{result.stderr}"
    return lines[-1]


@pytest.mark.parametrize("place", PLACES)
def test_no_kernel_touches_what_lies_beyond_an_array(place):
    assert run(bncore.selected_isa(), place, "reduced").endswith("not called: none")


@pytest.mark.fuzz
@pytest.mark.parametrize("isa", bncore.available_isas())
@pytest.mark.parametrize("place", PLACES)
def test_no_kernel_of_any_instruction_set_touches_what_lies_beyond_an_array(place, isa):
    assert run(isa, place, "full").endswith("not called: none")


@pytest.mark.parametrize(("place", "index"), [("end", 5), ("start", -1)])
def test_one_value_beyond_an_array_ends_the_process(place, index):
    code = f"""
        import ctypes, guarded_memory, numpy as np
        memory = guarded_memory.GuardedMemory({place == "end"})
        memory.use()
        values = np.ones(5, np.float32)
        pointer = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        print(pointer[0] + pointer[4], flush=True)
        print(pointer[{index}], flush=True)
    """
    code = "\n".join(line.strip() for line in code.splitlines())
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.returncode) == ("2.0\n", -11)
