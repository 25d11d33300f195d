"""Loads `bncore`, the compiled core: first of all, so that its errors come before NumPy's."""

try:
    import bncore as core
except ImportError as error:
    # Cython refuses a second interpreter with the first words. Python and NumPy use the second ones
    # for an interpreter with a lock (GIL) of its own, and for any but the main one without the GIL.
    once = any(words in str(error) for words in ("per process", "subinterpreters"))
    one = "import bn in one interpreter of a process only, the main one or one that shares its lock"
    way_out = one if once else "run `pip install .`"
    state = "loaded" if once else "built"
    raise ImportError(
        f"bncore, the compiled core of bn, is not {state} ({error}): {way_out}"
    ) from error

__all__ = ["core"]
