"""What is seen of a training, or of a long count: a live bar in a terminal, lines elsewhere."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Display(Protocol):
    """An object that is told how a training goes."""

    def begin(self, epoch: int, batches: int | None, done: int) -> None: ...
    def batch(self, loss: float, batches: int) -> None: ...
    def end(self, logs: Mapping[str, Any]) -> None: ...


@contextmanager
def showing(progress: bool, epochs: int) -> Iterator[Display]:
    """The display that suits standard output, or none."""
    if not progress:
        yield Silent()
    elif live():
        with live_bars("{task.fields[loss]}") as bars:
            yield Bars(epochs, bars)
    else:
        yield Lines(epochs)


@contextmanager
def counting(progress: bool, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function that shows how many of `total` pieces are done; 0 stands for any number."""
    if not progress:
        yield lambda done: None
    elif live():
        with live_bars() as bars:
            task = bars.add_task(what, total=total or None)
            yield lambda done: bars.update(task, completed=done)
    else:
        of_all = f"/{total}" if total else ""

        def show(done: int) -> None:
            if is_told(done, total):
                print(f"{what}  {done}{of_all} pieces", flush=True)

        yield show


def is_told(done: int, total: int) -> bool:
    """Whether a plain line is due: for each tenth, or for 1, 2, 4, 8 and so on of any number.

    Examples
    --------
    >>> [done for done in range(1, 41) if is_told(done, 40)]
    [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    >>> [done for done in range(1, 41) if is_told(done, 0)]
    [1, 2, 4, 8, 16, 32]
    """
    if total:
        return done * 10 // total > (done - 1) * 10 // total
    return done & (done - 1) == 0


def live_bars(*texts: str) -> Progress:
    """Bars with a description and a count, and further texts behind them."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn())
    return Progress(*columns, *map(TextColumn, texts), transient=True)


def live() -> bool:
    """Whether rich is installed and standard output is a terminal that it can redraw."""
    # With FORCE_COLOR in the environment rich would treat a file as a terminal.
    if sys.stdout is None or not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
        return False
    from rich.console import Console

    console = Console()
    return console.is_terminal and not console.is_dumb_terminal


def line(logs: Mapping[str, Any], epochs: int) -> str:
    """The row of an epoch in words, which fit into 80 columns with two losses and accuracies.

    Examples
    --------
    >>> line({"epoch": 2, "lr": 0.1, "loss": 0.5, "accuracy": 0.75, "seconds": 1.25}, 10)
    'epoch  2/10  loss 0.5000  accuracy 75.0 %'
    """
    words = [f"epoch {logs['epoch']:{len(str(epochs))}}/{epochs}"]
    for name, value in logs.items():
        if name.endswith("accuracy"):
            words.append(f"{name} {100 * value:.1f} %")
        elif name not in ("epoch", "lr", "seconds"):
            words.append(f"{name} {value:.4f}")
    return "  ".join(words)


class Silent:
    """A display that shows nothing."""

    def begin(self, epoch: int, batches: int | None, done: int) -> None:
        pass

    def batch(self, loss: float, batches: int) -> None:
        pass

    def end(self, logs: Mapping[str, Any]) -> None:
        pass


class Lines(Silent):
    """A display that prints one plain line for each epoch."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def end(self, logs: Mapping[str, Any]) -> None:
        print(line(logs, self.epochs), flush=True)


class Bars(Silent):
    """A live bar over the batches of an epoch, above which the lines of past epochs stay."""

    def __init__(self, epochs: int, bars: Progress) -> None:
        self.epochs, self.bars = epochs, bars
        self.task: TaskID | None = None

    def begin(self, epoch: int, batches: int | None, done: int) -> None:
        words = f"epoch {epoch:{len(str(self.epochs))}}/{self.epochs}"
        self.task = self.bars.add_task(words, total=batches, completed=done, loss="")

    def batch(self, loss: float, batches: int) -> None:
        assert self.task is not None
        self.bars.update(self.task, completed=batches, loss=f"loss {loss:.4f}")

    def end(self, logs: Mapping[str, Any]) -> None:
        assert self.task is not None
        self.bars.remove_task(self.task)
        self.bars.console.print(
            line(logs, self.epochs), highlight=False, markup=False, soft_wrap=True
        )
