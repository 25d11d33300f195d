"""The table of a model's layers, as Keras prints it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any

from bn import _check
from bn.keras.layers.weight import Weight

if TYPE_CHECKING:
    from bn.keras.layers.base import Layer
    from bn.keras.training import Trainer

UNITS = ("B", "KB", "MB", "GB", "TB")
TITLES = ("Layer (type)", "Output Shape", "Param #")
# How long a line is at most, and where the columns end, as parts of it.
CHAIN: tuple[int, tuple[float, ...]] = 88, (0.45, 0.80, 1.0)
GRAPH: tuple[int, tuple[float, ...]] = 108, (0.3, 0.56, 0.74, 1.0)
ALIGNED = {"Param #": str.rjust, "Trainable": str.center}  # others are on the left
TRAINABLE = 12  # by how much a line is longer with the column of that name


def print_summary(
    model: Trainer,
    line_length: int | None,
    positions: Sequence[float] | None,
    print_fn: Callable[[str], Any] | None,
    expand_nested: bool,
    show_trainable: bool,
) -> None:
    """Print the table of a model, or give it to a function."""
    _check.flag("expand_nested", expand_nested)
    _check.flag("show_trainable", show_trainable)
    _check.optional_positive_int("line_length", line_length)
    text = summary(model, line_length, positions, expand_nested, show_trainable)
    if print_fn is None:
        print(text)
    else:
        print_fn(text + "\n")


def summary(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
) -> str:
    """The table of a model.

    Parameters
    ----------
    model : Model
    line_length : int, optional
        By default as much as the terminal has, and 88 or 108 at most.
    positions : sequence of float, optional
        Where columns end, as parts of the line.
    expand_nested : bool
        Also show the layers of models inside.
    show_trainable : bool
        Also show which layers are trainable.

    Examples
    --------
    >>> from bn import keras
    >>> layer = keras.layers.Dense(3, name="dense")
    >>> print(summary(keras.Sequential([keras.Input((4,)), layer], name="small"), 50))
    Model: "small"
    ┏━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━┳━━━━━━━━━┓
    ┃ Layer (type)        ┃ Output Shape   ┃ Param # ┃
    ┡━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━╇━━━━━━━━━┩
    │ dense (Dense)       │ (None, 3)      │      15 │
    └─────────────────────┴────────────────┴─────────┘
     Total params: 15 (60.00 B)
     Trainable params: 15 (60.00 B)
     Non-trainable params: 0 (0.00 B)
    """
    chain = not model.built or model.graph.is_chain
    longest, usual = CHAIN if chain else GRAPH
    titles = [*TITLES, *["Connected to"] * (not chain)]
    ends = tuple(positions or usual)
    if show_trainable:
        longest, ends = longest + TRAINABLE, (*(end * 0.9 for end in ends), 1.0)
        titles.append("Trainable")
    length = line_length or min(longest, shutil.get_terminal_size().columns - 4)
    widths = column_widths(ends, length)
    rows = [
        row_of(model, layer, prefix, chain, show_trainable)
        for prefix, layer in shown_layers(model.layers, expand_nested)
    ]
    return "\n".join([f'Model: "{model.name}"', *table(titles, rows, widths), *counts(model)])


def shown_layers(
    layers: Sequence[Layer], expand_nested: bool, level: int = 0
) -> Iterator[tuple[str, Layer]]:
    """The layers, each with what stands before its name, and those of models inside."""
    prefix = "   " * level + "└ " if level else ""
    for layer in layers:
        yield prefix, layer
        if expand_nested:
            yield from shown_layers(getattr(layer, "layers", ()), True, level + 1)


def row_of(model: Any, layer: Layer, prefix: str, chain: bool, show_trainable: bool) -> list[str]:
    """The cells of a layer."""
    shape = str(layer.nodes[-1].output.shape) if layer.nodes else "?"
    count = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
    cells = [f"{prefix}{layer.name} ({layer.keras_class})", shape.replace(",)", ")"), count]
    if not chain:
        cells.append(", ".join(connections(model, layer)) or "-")
    if show_trainable:
        cells.append("-" if not layer.weights else "Y" if layer.trainable else "N")
    return cells


def connections(model: Any, layer: Layer) -> Iterable[str]:
    """What goes into a layer in a model: the layer, which of its calls, which of its outputs."""
    calls = set(model.graph.calls)
    for node in layer.nodes:
        if node in calls:
            for parent in node.parents:
                yield f"{parent.layer.name}[{parent.number}][0]"


# ---- the numbers of weights ----


def counts(model: Any) -> list[str]:
    """The lines below the table."""
    trains, rests = model.trainable_weights, model.non_trainable_weights
    totals = [*_sizes([*trains, *rests]), *_sizes(trains), *_sizes(rests)]
    optimizer = getattr(model, "optimizer", None)
    further = []
    if optimizer is not None and optimizer.built:
        slots, own = optimizer.slots(), optimizer.numbers()
        numbers, size = own + slots * totals[2], 4 * own + slots * totals[3]
        totals[0], totals[1] = totals[0] + numbers, totals[1] + size
        further = [_line("Optimizer", numbers, size)]
    words = ("Total", "Trainable", "Non-trainable")
    return [*(_line(word, *totals[2 * i : 2 * i + 2]) for i, word in enumerate(words)), *further]


def _sizes(weights: Sequence[Weight]) -> tuple[int, int]:
    """How many numbers there are, and how many bytes."""
    return sum(w.size for w in weights), sum(w.size * w.dtype.itemsize for w in weights)


def _line(word: str, numbers: int, size: float) -> str:
    for unit in UNITS:
        if size < 1024 or unit == UNITS[-1]:
            break
        size /= 1024
    return f" {word} params: {numbers:,} ({size:.2f} {unit})"


# ---- the table ----


def column_widths(ends: Sequence[float], length: int) -> list[int]:
    """The widths of the columns with a space on each side, without the lines between them.

    Parameters
    ----------
    ends : sequence of float
        Where the columns end, as parts of the line.
    length : int
        Of the line.

    Examples
    --------
    >>> column_widths((0.45, 0.80, 1.0), 76)
    [33, 24, 15]
    """
    places = [0, *(int(end * length) for end in ends)]
    widths = [end - begin + 2 for begin, end in pairwise(places)]
    excess = sum(widths) - (length - len(widths) - 1)
    for i, width in enumerate(widths):  # the lines and the spaces take from all columns alike
        part = round(excess / (len(widths) - i))
        widths[i], excess = width - part, excess - part
    _check.keras_widths(widths)
    return widths


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """The lines of a table with a frame."""
    aligned = [ALIGNED.get(title, str.ljust) for title in titles]
    lines = [_rule("┏┳┓", "━", widths), *_row(titles, widths, aligned, "┃")]
    lines.append(_rule("┡╇┩", "━", widths))
    for i, row in enumerate(rows):
        lines += [_rule("├┼┤", "─", widths)] * (i > 0)
        lines += _row(row, widths, aligned, "│")
    return [*lines, _rule("└┴┘", "─", widths)]


def _rule(corners: str, line: str, widths: Sequence[int]) -> str:
    left, between, right = tuple(corners)
    return left + between.join(line * width for width in widths) + right


def _row(
    cells: Sequence[str], widths: Sequence[int], aligned: Sequence[Any], line: str
) -> list[str]:
    """The lines of one row."""
    columns = [wrapped(cell, width - 2) for cell, width in zip(cells, widths, strict=True)]
    lines = []
    for texts in zip_longest(*columns, fillvalue=""):
        each = zip(aligned, texts, widths, strict=True)
        lines.append(
            line + line.join(f" {to(text, width - 2)} " for to, text, width in each) + line
        )
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines that break between words; a word that is too long is cut.

    Parameters
    ----------
    text : str
    width : int

    Examples
    --------
    >>> wrapped("batch_normalization (BatchNormalization)", 20)
    ['batch_normalization', '(BatchNormalization)']
    >>> wrapped("input_layer_1[0][0]", 10)
    ['input_lay…']
    """
    lines = [""]
    for word in re.findall(r"^\s*\S+\s*|\S+\s*", text):
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    cut = [line.rstrip() for line in lines]
    return [line if len(line) <= width else f"{line[: width - 1]}…" for line in cut]
