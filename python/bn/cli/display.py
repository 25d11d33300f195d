"""The display during training: live bars in a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

from bn.cli.training import Epoch, Run, Watcher

if TYPE_CHECKING:
    from rich.table import Table

NAME_WIDTH = len("without batch norm")
BAR_WIDTH = 18
COLUMNS = (
    ("", NAME_WIDTH),
    ("progress", BAR_WIDTH),
    ("epoch", 5),
    ("loss", 7),
    ("test acc.", 8),
    ("images/s", 8),
)


def live(name_width: int = NAME_WIDTH) -> bool:
    """Whether rich is installed and standard output is a terminal that it can redraw."""
    # With FORCE_COLOR in the environment rich would treat a file as a terminal.
    if sys.stdout is None or not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
        return False
    from rich.console import Console

    console = Console()
    needed = sum(width + 2 for _, width in COLUMNS) + name_width - NAME_WIDTH
    wide = console.width >= needed
    return console.is_terminal and not console.is_dumb_terminal and wide


@contextmanager
def open_display(name_width: int = NAME_WIDTH, *, silent: bool = False) -> Iterator[Watcher]:
    """The display that suits standard output, or one that shows nothing."""
    if silent:
        yield Silent()
        return
    if not live(name_width):
        yield Lines(name_width)
        return
    from rich.live import Live

    bars = Bars()
    with Live(get_renderable=bars.table, refresh_per_second=8):
        yield bars


def room() -> int | None:
    """The columns of the terminal, or None where lines may have any length."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def wrapped(text: str) -> str:
    """Break a sentence between words where the terminal would break it anywhere."""
    columns = room()
    return text if columns is None else fill(text, columns, break_long_words=False)


def line(network: str, epoch: Epoch, epochs: int, columns: int | None) -> str:
    """An epoch in one line, which leaves out what `columns` have no room for.

    Examples
    --------
    >>> epoch = Epoch(2, 0.1, 0.5, 0.8, 0.6, 0.75, 1.0, 1234.0)
    >>> line("with batch norm", epoch, 12, None)
    'with batch norm     epoch  2/12  loss  0.5000  test accuracy  75.0 %     1,234 images/s'
    >>> line("with batch norm", epoch, 12, 60)
    'with batch norm     epoch  2/12  loss  0.5000  test  75.0 %'
    >>> line("with batch norm", epoch, 12, 40)
    'with batch norm   2/12  75.0 %'
    """
    name, width = f"{network:{NAME_WIDTH}}", len(str(epochs))
    count = f"{epoch.epoch:{width}}/{epochs}"
    loss, accuracy = f"loss {epoch.train_loss:7.4f}", percent(epoch.test_accuracy)
    rate = f"{epoch.images_per_second:8,.0f} images/s"
    forms = (
        (name, f"epoch {count}", loss, f"test accuracy {accuracy:>7}", rate),
        (name, f"epoch {count}", loss, f"test accuracy {accuracy:>7}"),
        (name, f"epoch {count}", loss, f"test {accuracy:>7}"),
        (network.rstrip(), count, loss, accuracy),
    )
    for form in forms:
        text = "  ".join(form)
        if columns is None or len(text) <= columns:
            return text
    return f"{network.rstrip()}  {count}  {accuracy}"


def percent(share: float) -> str:
    """Format a fraction in percent.

    Examples
    --------
    >>> percent(0.98765)
    '98.8 %'
    """
    return f"{100 * share:.1f} %"


class Silent:
    """A display that shows nothing."""

    def start(self, run: Run, epochs: int, steps: int) -> None:
        pass

    def step(self, loss: float, images_per_second: float, done: int) -> None:
        pass

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        pass


class Lines(Silent):
    """A display that prints one plain line for each epoch."""

    def __init__(self, name_width: int = NAME_WIDTH) -> None:
        self.name_width = name_width

    def start(self, run: Run, epochs: int, steps: int) -> None:
        self.network = f"{run.network:{self.name_width}}"

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        print(line(self.network, epoch, epochs, room()), flush=True)


@dataclass
class Row:
    """The values that the live display shows for one network."""

    network: str
    epochs: int
    steps: int
    step: int = 0
    epoch: int = 0
    loss: str = ""
    accuracy: str = ""
    rate: str = ""


class Bars:
    """A live display with a row and a bar for each network; rich redraws it regularly."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def start(self, run: Run, epochs: int, steps: int) -> None:
        self.rows.append(Row(run.network, epochs, steps))

    def step(self, loss: float, images_per_second: float, done: int) -> None:
        row = self.rows[-1]
        row.step = done
        row.loss, row.rate = f"{loss:.4f}", f"{images_per_second:,.0f}"

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        row = self.rows[-1]
        row.epoch, row.accuracy = epoch.epoch, percent(epoch.test_accuracy)

    def table(self) -> Table:
        """Build the table that rich draws at a refresh."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for name, width in COLUMNS:
            left = name in {"", "progress"}
            table.add_column(
                name, justify="left" if left else "right", min_width=width, no_wrap=True
            )
        for row in self.rows:
            table.add_row(
                f"[bold]{row.network}[/]",
                ProgressBar(total=row.epochs * row.steps, completed=row.step, width=BAR_WIDTH),
                f"{row.epoch}/{row.epochs}",
                row.loss,
                f"[green]{row.accuracy}[/]",
                row.rate,
            )
        return table
