"""Loads `bncore`, the compiled core, and keeps its threads out of trouble."""

import os

# libgomp reads this once, when it is loaded. Its default lets a waiting thread spin for
# milliseconds, which keeps the threads of NumPy's BLAS off the cores: a product of two matrices
# followed by a normalization takes 8 ms instead of 0.3. What the user has set stays.
_SPIN = "GOMP_SPINCOUNT"
_set_here = not {_SPIN, "OMP_WAIT_POLICY"} & set(os.environ)
if _set_here:
    os.environ[_SPIN] = "1000"
try:
    import bncore as core
except ImportError as error:
    raise ImportError(
        f"bncore, the compiled core of bn, is not built ({error}): run `pip install .`"
    ) from error
finally:
    if _set_here:
        del os.environ[_SPIN]


_team_released = True


def _before_fork() -> None:
    # a child inherits libgomp's list of threads, but not the threads, and would wait for them
    global _team_released
    _team_released = core.release_threads()


def _after_fork_in_child() -> None:
    if not _team_released:
        core.set_max_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)

__all__ = ["core"]
