"""The command `python -m bn`: its parser and its exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import bn
from bn.cli import info, predict, train
from bn.cli._failure import Failure
from bn.cli._process import forget_output

COMMANDS = (train, predict, info)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; each command adds its own arguments."""
    top = argparse.ArgumentParser(
        prog="python -m bn",
        description="Batch normalization for NumPy on CPUs.",
        epilog="`python -m bn COMMAND --help` explains a command.",
    )
    top.add_argument("--version", action="version", version=f"bn {bn.show_config()['version']}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for command in COMMANDS:
        sub = commands.add_parser(
            command.__name__.rpartition(".")[2],
            help=command.SUMMARY,
            description=command.DESCRIPTION,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments, by default those of the process.

    Returns
    -------
    int
        0, 1 after an expected failure (one sentence on stderr), 130 after Ctrl-C. Errors of use
        leave through argparse, with exit code 2.

    Examples
    --------
    >>> main(["info"])  # doctest: +ELLIPSIS
    bn ...
    0
    """
    top = parser()
    args = top.parse_args(argv)
    if args.command is None:
        top.print_help()
        return 0
    try:
        code: int = args.run(args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        if error.filename is not None:
            raise
        # standard output cannot be written; a reader that left, as `head` does, has had enough
        if not isinstance(error, BrokenPipeError):
            print(f"standard output: {error.strerror}", file=sys.stderr)
        forget_output()
        return 1
    return code
