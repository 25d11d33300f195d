"""The message for a package that is not installed."""

from __future__ import annotations


def missing_package(
    user: str, package: str, installed: str = "'.[demo]' in a checkout of bn"
) -> str:
    """The message for a package that is not installed, although `user` needs it."""
    return f"{user} needs {package}, which is not installed: pip install {installed}"
