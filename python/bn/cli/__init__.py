"""The command `bn`, which is also `python -m bn`: its parser and its exit codes.

`train`, `predict`, `study`, `info` and `test` are the commands. The others help them: `data` reads
images, `batches` gives them to a training, `models` and `norms` build networks, `training` trains
one, `display` shows how it goes, `results` writes what it gave, `folder` keeps that and what is
needed to go on, `checkpoint` saves and loads networks; `arguments`, `failure` and `process` are for
the terminal.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import bn
from bn.cli import info, predict, study, test, train
from bn.cli.arguments import Parser
from bn.cli.failure import Failure
from bn.cli.process import command_name, forget_output

COMMANDS = (train, predict, study, info, test)


def parser() -> Parser:
    """The parser of all commands; each command adds its own arguments."""
    top = Parser(
        prog=command_name(),
        description="Batch normalization for NumPy on CPUs.",
        epilog=f"`{command_name()} COMMAND --help` explains a command.",
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
        0 after success, 1 after an expected failure (which prints one sentence to stderr), and 130
        after Ctrl-C. Wrong options end the process with one line and exit code 2.

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
        # Standard output cannot be written. A reader that closes a pipe early, as `head` does, is
        # no reason for a message.
        if not isinstance(error, BrokenPipeError):
            print(f"standard output: {error.strerror}", file=sys.stderr)
        forget_output()
        return 1
    return code
