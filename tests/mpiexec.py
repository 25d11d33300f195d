"""Runs of several processes under mpiexec."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# The wheel of MPICH puts mpiexec beside the interpreter.
MPIEXEC = shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")
MPI4PY = importlib.util.find_spec("mpi4py") is not None
needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or not MPI4PY, reason="mpi4py or mpiexec is missing: pip install '.[mpi]'"
)


def started(ranks, *arguments):
    """Start Python with these arguments on so many ranks; return its exit code and its output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [MPIEXEC, "-n", str(ranks), sys.executable, "-W", "ignore", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout
