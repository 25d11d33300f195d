"""Loads `bncore`, the compiled core: first of all, so that its errors come before NumPy's."""

try:
    import bncore as core
except ImportError as error:
    once = "per process" in str(error)  # so Cython and NumPy refuse a second interpreter
    way_out = "import bn in one interpreter of a process only" if once else "run `pip install .`"
    state = "loaded" if once else "built"
    raise ImportError(
        f"bncore, the compiled core of bn, is not {state} ({error}): {way_out}"
    ) from error

__all__ = ["core"]
