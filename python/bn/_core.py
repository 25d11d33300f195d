"""Loads `bncore`, the compiled core: first of all, so that its errors come before NumPy's."""

try:
    import bncore as core
except ImportError as error:
    # Thus Cython and NumPy refuse a second interpreter: the latter words are used without the GIL.
    once = any(words in str(error) for words in ("per process", "subinterpreters"))
    way_out = "import bn in one interpreter of a process only" if once else "run `pip install .`"
    state = "loaded" if once else "built"
    raise ImportError(
        f"bncore, the compiled core of bn, is not {state} ({error}): {way_out}"
    ) from error

__all__ = ["core"]
