"""`bn study`: measure what is claimed of batch normalization."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from bn.cli.arguments import integer, meant, positive
from bn.cli.display import room, wrapped
from bn.cli.failure import Failure, expected, require
from bn.cli.process import command_name, stop_on_interrupt
from bn.nn.training.display import is_told, live, live_bars
from bn.study import STUDIES
from bn.study.html import write_html
from bn.study.markdown import write_markdown
from bn.study.plan import Study
from bn.study.report import chapters, verdicts
from bn.study.runner import Watcher
from bn.study.runner import run as measure
from bn.study.store import Store

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SUMMARY = "measure what is claimed of batch normalization"
DESCRIPTION = """\
Without a name, list the studies. With names, or `all`, run them, and write
report.html, which needs no other file and no network, and results.json with
all that was measured. The data come with packages:
pip install '.[study]'. A study that was stopped, by Ctrl-C or a crash,
goes on where it was when it is called again with the same --out.
"""
BY_NAME = {study.name: study for study in STUDIES}
PACKAGES = {
    "matplotlib": "matplotlib",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "mlxtend": "mlxtend",
    "mnist1d": "mnist1d",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add = parser.add_argument
    add("names", nargs="*", type=study_name, metavar="NAME", help="studies, or all of them: all")
    add(
        "--quick",
        action="store_true",
        help="one seed on small grids, without verdicts: all studies take a minute or two",
    )
    add(
        "--seeds",
        type=integer(1),
        metavar="N",
        help="measure everything N times; default 5, or 1 if quick",
    )
    add(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="for the results; default runs/study, or runs/study-quick",
    )
    add(
        "--budget",
        type=positive,
        metavar="MINUTES",
        help="for all studies together; what does not fit is left out, the last seeds first. By "
        "default a full study has a budget of its own",
    )
    add(
        "--jobs",
        type=integer(1),
        metavar="N",
        help="measurements at once, each on one thread; default one for each core",
    )
    add(
        "--page",
        type=markdown_file,
        metavar="FILE",
        help="write the report as Markdown too, and its pictures into a folder beside it",
    )


def study_name(text: str) -> str:
    """The name of a study, or "all"."""
    if text not in BY_NAME and text != "all":
        known = f"`{command_name()} study` lists them"
        raise argparse.ArgumentTypeError(
            f"there is no study {text!r}{meant(text, BY_NAME) or ': ' + known}"
        )
    return text


def markdown_file(text: str) -> Path:
    """A file of Markdown, beside which there is a folder with the same name but for the suffix."""
    if not Path(text).suffix:
        raise argparse.ArgumentTypeError(f"must be a file such as study.md, got {text!r}")
    return Path(text)


def run(args: argparse.Namespace) -> int:
    """List the studies, or run those that were named."""
    if not args.names:
        list_studies()
        return 0
    for module, package in PACKAGES.items():
        require("study", module, package, "study")
    chosen = STUDIES if "all" in args.names else [BY_NAME[n] for n in dict.fromkeys(args.names)]
    folder = args.out or Path("runs", "study-quick" if args.quick else "study")
    with expected(OSError, ValueError):
        folder.mkdir(parents=True, exist_ok=True)
        store = Store.open(folder / "results.json", args.quick)
    with stop_on_interrupt() as stop, expected(OSError), watching() as watcher:
        try:
            measure(
                chosen, store, watcher, seeds=args.seeds, minutes=args.budget,
                jobs=args.jobs or cores(), stopped=lambda: stop.requested,
            )  # fmt: skip
        except BrokenProcessPool as error:
            raise Failure("a process that measured was killed; the same command goes on") from error
    with expected(OSError):
        left = write(folder, store, args.page, chosen)
    if stop.requested:
        print("stopped; the same command goes on from here")
        return 130
    if left:
        raise Failure(
            f"time was up before all settings of {', '.join(left)} were measured once, so the "
            "report lacks this; the same command goes on from here"
        )
    return 0


def list_studies() -> None:
    """Print the names and the claims, in as many columns as the terminal has."""
    width = max(map(len, BY_NAME))
    for name, study in BY_NAME.items():
        line = f"{name:{width}}  {study.claim}"
        print(fill(line, room() or len(line), subsequent_indent=" " * (width + 2)))
    print()
    print(wrapped(f"`{command_name()} study NAME...` runs some of them, `... study all` runs all"))


def write(folder: Path, store: Store, page: Path | None, chosen: Sequence[Study]) -> list[str]:
    """Write the report of all studies in the folder, and print the verdicts of those chosen.

    The result has the names of those chosen of which the report has nothing to say yet.
    """
    written = chapters(STUDIES, store)
    store.save(verdicts(written))
    if written:
        write_html(folder / "report.html", written, store)
        if page is not None:
            write_markdown(page, written, store)
    told = [chapter for chapter in written if chapter.study in chosen]
    for chapter in told:
        print(wrapped(f"{chapter.study.name}: {chapter.verdict}. {chapter.text}"))
    print("results in", folder)
    known = {chapter.study.name for chapter in told}
    return [study.name for study in chosen if study.name not in known]


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---- what is seen meanwhile ----


@contextmanager
def watching() -> Iterator[Watcher]:
    """A live bar for each study in a terminal, plain lines elsewhere."""
    if not live():
        yield Lines()
        return
    with live_bars() as bars:
        yield Bars(bars)


class Lines:
    """A line for each tenth of a study."""

    def begin(self, study: Study, total: int, done: int) -> None:
        self.study, self.total, self.done = study, total, done
        self.start = time.monotonic()

    def step(self) -> None:
        self.done += 1
        if is_told(self.done, self.total):
            minutes = (time.monotonic() - self.start) / 60
            print(f"{self.study.name}  {self.done}/{self.total}  {minutes:.1f} min", flush=True)


class Bars:
    """A bar for each study."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.task: TaskID | None = None

    def begin(self, study: Study, total: int, done: int) -> None:
        self.task = self.bars.add_task(study.name, total=total, completed=done)

    def step(self) -> None:
        assert self.task is not None
        self.bars.update(self.task, advance=1)
