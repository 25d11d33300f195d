"""The display during training: live bars in a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


def live() -> bool:
    """Whether rich is installed and standard output is a terminal that it can redraw."""
    # With FORCE_COLOR in the environment rich would treat a file as a terminal.
    if sys.stdout is None or not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
        return False
    from rich.console import Console

    console = Console()
    wide = console.width >= sum(width + 2 for _, width in COLUMNS)
    return console.is_terminal and not console.is_dumb_terminal and wide


@contextmanager
def open_display() -> Iterator[Watcher]:
    """The display that suits standard output."""
    if not live():
        yield Lines()
        return
    from rich.live import Live

    bars = Bars()
    with Live(get_renderable=bars.table, refresh_per_second=8):
        yield bars


def percent(share: float) -> str:
    """Format a fraction in percent.

    Examples
    --------
    >>> percent(0.98765)
    '98.8 %'
    """
    return f"{100 * share:.1f} %"


class Lines:
    """A display that prints one plain line for each epoch."""

    def start(self, run: Run, epochs: int, steps: int) -> None:
        self.network = run.network

    def step(self, loss: float, images_per_second: float) -> None:
        pass

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        width = len(str(epochs))
        print(
            f"{self.network:{NAME_WIDTH}}  epoch {epoch.epoch:{width}}/{epochs}"
            f"  loss {epoch.train_loss:7.4f}  test accuracy {percent(epoch.test_accuracy):>7}"
            f"  {epoch.images_per_second:8,.0f} images/s",
            flush=True,
        )


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

    def step(self, loss: float, images_per_second: float) -> None:
        row = self.rows[-1]
        row.step += 1
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
