"""Loads `bncore`, the compiled core."""

try:
    import bncore as core
except ImportError as error:
    raise ImportError(
        f"bncore, the compiled core of bn, is not built ({error}): run `pip install .`"
    ) from error

__all__ = ["core"]
