"""`plot_running_stats`: how running statistics move towards those of the data."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from bn import _check
from bn.functional import merge
from bn.inputs import call_with
from bn.layers.batch_norm import BatchNorm, batch_norms
from bn.layers.watching import watching
from bn.module import Module
from bn.recording.kept import no_grad
from bn.statistics import Stats
from bn.tools.figures import panels
from bn.types import Array, Doubles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMES = 12  # that a legend has room for


class Way:
    """The running statistics of one layer after each batch, and the statistics of all batches.

    Parameters
    ----------
    path : str
    layer : BatchNorm

    Examples
    --------
    >>> import bn
    >>> way = Way("bn1", bn.BatchNorm1d(1, eps=0.0))
    >>> way.note()
    >>> way.add(bn.stats(np.array([[2.0], [4.0]])))
    >>> way.distances()
    array([[3.]])
    """

    def __init__(self, path: str, layer: BatchNorm) -> None:
        self.path, self.layer = path, layer
        self.parts: list[Stats] = []
        self.means: list[Array] = []
        self.variances: list[Array] = []

    def add(self, batch: Stats) -> None:
        """Take in what the layer got."""
        self.parts.append(batch)

    def note(self) -> None:
        """Note where the running statistics are now."""
        mean, var = self.layer.running_mean, self.layer.running_var
        if mean is not None and var is not None:
            self.means.append(mean.astype(np.float64))
            self.variances.append(var.astype(np.float64))

    def distances(self) -> Doubles:
        """Of the means, in standard deviations of all batches; shape (times, C)."""
        whole = merge(self.parts)
        return abs(np.array(self.means) - whole.mean) / np.sqrt(whole.var + self.layer.eps)

    def ratios(self) -> Doubles:
        """Of the variances to that of all batches; shape (times, C)."""
        whole = merge(self.parts)
        var = whole.unbiased_var if self.layer.convention.unbiased else whole.var
        return (np.array(self.variances) + self.layer.eps) / (var + self.layer.eps)


def plot_running_stats(model: Module, batches: Iterable[Any]) -> Figure:
    """Draw how running statistics move towards the statistics of the data, batch by batch.

    A copy of the model sees the batches in training mode, beginning with the running statistics
    that the model has. After each batch the picture has the distance of the running means from the
    means of all batches together, in standard deviations, and the ratio of the running variances to
    the variances of all batches: for each layer the mean over its channels, and as a band from the
    least to the largest.

    Parameters
    ----------
    model : Module
        It stays as it is. To see the way from the beginning, give it
        `reset_running_stats` before. The batch normalization layers run in training mode, all
        others in the mode they are in.
    batches : iterable of ndarray, or of tuple or list
        As in `recalibrate`. Read once.

    Returns
    -------
    matplotlib.figure.Figure
        Made without pyplot, whose state stays as it is.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    TypeError
        An argument is not as above.
    ValueError
        There is no batch, or x goes through no batch normalization with running statistics.

    See Also
    --------
    recalibrate : Sets the running statistics to those of the data at once.
    report : How far they are from those of one batch, in numbers.

    Notes
    -----
    With PyTorch's momentum m, what was there before counts (1 - m)ᵏ after k batches: 0.35 after 10
    batches of momentum 0.1, and 0.005 after 50.

    Examples
    --------
    >>> import bn
    >>> batches = np.random.default_rng(0).normal(3, 2, (30, 32, 4))
    >>> figure = bn.plot_running_stats(bn.nn.Sequential(bn.BatchNorm1d(4)), list(batches))
    >>> means, variances = figure.axes
    >>> means.lines[0].get_ydata()[[0, 10, 20]].round(1)
    array([1.5, 0.5, 0.2])
    """
    ways = ways_of(model, batches)
    title = f"{type(model).__name__}, running statistics on their way"
    figure, ((means, variances),) = panels("plot_running_stats", title, 1, 2, (9.0, 3.6))
    for i, way in enumerate(ways):
        color = f"C{i % 10}"
        _line(means, way.distances(), way.path, color)
        _line(variances, way.ratios(), way.path, color)
    means.set_title("distance of the means, in standard deviations", fontsize=9)
    means.set_ylim(bottom=0)
    variances.set_title("running variance / variance of the data", fontsize=9)
    variances.set_yscale("log")
    variances.axhline(1, color="#888888", linewidth=0.8, linestyle="--")
    for axes in (means, variances):
        axes.set_xlabel("batches")
        axes.grid(color="#e5e5e5")
    if len(ways) <= MOST_NAMES:
        means.legend(frameon=False, fontsize=8)
    return figure


def ways_of(given: Module, batches: Iterable[Any]) -> list[Way]:
    """The ways of all layers that have running statistics and ran.

    Parameters
    ----------
    given : Module
    batches : iterable

    Examples
    --------
    >>> import bn
    >>> (way,) = ways_of(bn.BatchNorm1d(1), [np.ones((20, 1))] * 3)
    >>> way.path, len(way.means)
    ('BatchNorm1d', 4)
    """
    _check.instance("model", given, Module)
    _check.batch_source(batches)
    model: Module = copy.deepcopy(given)
    ways = {id(layer): Way(path, layer) for path, layer in batch_norms(model)}

    def add(path: str, layer: BatchNorm, x: Array, y: Array, batch: Stats) -> None:
        way = ways[id(layer)]
        if not way.means:
            way.note()
        way.add(batch)

    count = 0
    for way in ways.values():
        way.layer.training = True
    with watching(model, add), no_grad():
        for batch in batches:
            call_with(model, _check.batch_input(batch))
            count += 1
            for way in ways.values():
                if way.parts:
                    way.note()
    _check.some_batches(count)
    found = [way for way in ways.values() if way.parts and way.means]
    what = "batch normalization with running statistics"
    _check.some_normalization(model, len(found), what)
    return found


def _line(axes: Axes, values: Doubles, name: str, color: str) -> None:
    """One line for a layer: the mean over its channels, and a band from the least to the most."""
    times = np.arange(len(values))
    axes.plot(times, values.mean(1), color=color, label=name, linewidth=1.5)
    axes.fill_between(times, values.min(1), values.max(1), color=color, alpha=0.15, linewidth=0)
