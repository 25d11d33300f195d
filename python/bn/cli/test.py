"""`bn test`: check whether this installation keeps its promises."""

from __future__ import annotations

import argparse

import bn

SUMMARY = "check this installation: gradients, digits, bits of any threads"
DESCRIPTION = """Check whether bn computes here what it promises.

The last line tells the versions, the machine and the result; please put it into reports of bugs.
The exit code is 1 if a check failed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Do nothing, since this command has no options."""


def run(args: argparse.Namespace) -> int:
    """Run the checks, and print a line for each."""
    return 0 if bn.test() else 1
