"""Signatures name the class that is a default as a program does: ``dtype=numpy.float32``."""

from __future__ import annotations

import re

from sphinx.application import Sphinx


def defaults_by_name(
    app: Sphinx, what: str, name: str, thing: object, options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """Write the name in place of Python's representation of a class."""
    if not signature or "<class '" not in signature:
        return None
    return re.sub(r"<class '([\w.]+)'>", r"\1", signature), returns


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it."""
    app.connect("autodoc-process-signature", defaults_by_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
