"""`plot_activations`: a picture of what enters and leaves each normalization of a model."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bn import _check
from bn.inputs import Inputs, call_with
from bn.layers import no_stat_update, watching
from bn.layers.batch_norm import BatchNorm
from bn.layers.sample_norm import SampleNorm
from bn.module import Module, unchanged
from bn.recording.kept import no_grad
from bn.statistics import Stats
from bn.tools.figures import BLUE, ORANGE, panels
from bn.types import Array, Doubles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 60
MOST_LINES = 8  # channels that are drawn by themselves
TAIL = 0.001  # the share of values at each end that may lie beyond a panel's edges


class Seen(NamedTuple):
    """One call of a normalization; `axis` is that of its channels, None for one of samples."""

    name: str
    x: Array
    y: Array
    axis: int | None


def plot_activations(model: Module, x: Inputs) -> Figure:
    """Draw what enters and what leaves each normalization of a model.

    A row for each call of a normalization, in their order: on the left the histogram of its input,
    on the right that of its output. Of batch normalizations up to eight channels are drawn by
    themselves too, as lines.

    Parameters
    ----------
    model : Module
        It runs in the mode that it is in: in training mode batch normalizations use the statistics
        of x, in eval mode the running ones. It stays as it is. (Layers that draw random numbers in
        training mode have drawn them.)
    x : ndarray, or tuple or dict of arrays
        Its input; several by position or by name.

    Returns
    -------
    matplotlib.figure.Figure
        Made without pyplot, whose state stays as it is.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError
        `model` is no Module.
    ValueError
        x goes through no normalization, or does not fit the model.

    See Also
    --------
    report : The same in numbers, and what to do about them.
    plot_running_stats : How running statistics move.
    nn.capture : What any layer gets and gives, as arrays.

    Examples
    --------
    >>> import bn
    >>> model = bn.nn.Sequential(bn.nn.Linear(4, 3, rng=0), bn.BatchNorm1d(3), bn.nn.ReLU())
    >>> figure = bn.plot_activations(model, np.random.default_rng(0).standard_normal((64, 4)))
    >>> [axes.get_title() for axes in figure.axes]
    ['1 (BatchNorm1d), in: 0.011 ± 0.79', 'out: 0 ± 1']
    """
    calls = seen_in(model, x)
    _check.some_normalization(model, len(calls), "normalization")
    size = (8.0, 0.6 + 1.6 * len(calls))
    title = f"{type(model).__name__}, what enters and leaves its normalizations"
    figure, rows = panels("plot_activations", title, len(calls), 2, size)
    for (before, after), call in zip(rows, calls, strict=True):
        _histogram(before, f"{call.name}, in", call.x, call.axis, ORANGE)
        _histogram(after, "out", call.y, call.axis, BLUE)
    return figure


def seen_in(model: Module, x: Inputs) -> list[Seen]:
    """What the normalizations of a model get and give.

    Parameters
    ----------
    model : Module
    x : ndarray, tuple or dict

    Examples
    --------
    >>> import bn
    >>> [call.name for call in seen_in(bn.LayerNorm(3), np.ones((2, 3)))]
    ['LayerNorm']
    """
    _check.instance("model", model, Module)
    calls: list[Seen] = []

    def watched(path: str, layer: BatchNorm, x: Array, y: Array, batch: Stats) -> None:
        calls.append(Seen(f"{path} ({type(layer).__name__})", x, y, layer.axis))

    with ExitStack() as stack:
        for context in (unchanged(model), watching(model, watched), no_stat_update(), no_grad()):
            stack.enter_context(context)
        for path, layer in model.named_modules():
            if isinstance(layer, SampleNorm):
                layer.register_forward_hook(_hook(path, calls))
        call_with(model, _check.inputs("x", x))
    return calls


def _hook(path: str, calls: list[Seen]) -> Any:
    """A forward hook that adds to the calls."""

    def note(layer: Module, inputs: tuple[Any, ...], y: Array) -> None:
        kind = type(layer).__name__
        calls.append(Seen(f"{path} ({kind})" if path else kind, inputs[0], y, None))

    return note


def _moments(values: Doubles) -> str:
    """Mean and standard deviation as text; a mean that is zero but for rounding is "0"."""
    mean, std = float(values.mean()), float(values.std())
    return f"{mean if abs(mean) > 1e-3 * std else 0:.2g} ± {std:.2g}"


def _histogram(axes: Axes, name: str, values: Array, axis: int | None, color: str) -> None:
    finite = values[np.isfinite(values)].astype(np.float64)
    axes.set_yticks([])
    if finite.size == 0:
        axes.set_title(f"{name}: no finite values", fontsize=9)
        return
    axes.set_title(f"{name}: {_moments(finite)}", fontsize=9)
    low, high = np.quantile(finite, [TAIL, 1 - TAIL]).tolist()
    edges = np.histogram_bin_edges(finite, BINS, (low, high))
    heights, _ = np.histogram(finite, edges, density=True)
    axes.stairs(heights, edges, color=color, alpha=0.35, fill=True)
    if axis is None:
        return
    channels = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    for i in np.unique(np.linspace(0, len(channels) - 1, MOST_LINES).astype(int)):
        heights, _ = np.histogram(channels[i], edges, density=True)
        axes.stairs(heights, edges, color=color, linewidth=0.8, alpha=0.8)
