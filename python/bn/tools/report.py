"""`report`: how the batch normalization layers of a model are, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from bn import _check
from bn.distributed.team import Team, team_of
from bn.functional import merge
from bn.inputs import Inputs, arrays_of, call_with
from bn.layers import no_stat_update, watching
from bn.layers.batch_norm import FEW_VALUES, BatchNorm, batch_norms
from bn.layers.sample_norm import SampleNorm
from bn.markup import html_table
from bn.module import Module, unchanged
from bn.statistics import Stats
from bn.table import aligned
from bn.types import Array, Doubles, Shape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TINY_WEIGHT = 1e-3  # |weight| is the standard deviation of the output; it starts at 1
TINY_VAR = 1e-2  # of eps: the output's standard deviation is then below 0.1·|weight|
FAR_MEAN = 0.5  # standard deviations; of the variance, a factor of 2
CHANCE = 6.0  # standard errors that sample means and variances of 10⁴ channels stay within
NOTHING = "nothing found"
TITLES = (
    ("", ""),
    ("", "channels"),
    ("values per", "channel"),
    ("mean off,", "max"),
    ("mean off,", "mean"),
    ("running var /", "batch var"),
    ("dead", "channels"),
    ("input", "not finite"),
    ("running", "not usable"),
)


# For each kind of finding: what is wrong, where it is said of several layers; what to do about it.
KINDS = {
    "no values": ("got no values, so nothing was measured", "is the layer used, is x empty?"),
    "nonfinite input": (
        "values of their input are NaN or infinite",
        "look for where they come from, in x and in the layers before",
    ),
    "unusable running": (
        "channels have running statistics that are NaN, infinite or negative",
        "call bn.recalibrate(model, batches)",
    ),
    "far": (
        "running statistics are not those of x, so eval mode gives other outputs than training",
        "call bn.recalibrate(model, batches) with training data; if they stay apart, x is not like "
        "the training data",
    ),
    "few values": (
        f"fewer than {FEW_VALUES} values per channel",
        "batches of this size are noisy to train with: take larger ones, take several as one "
        "(bn.accumulate), use batch renormalization (renorm=True), freeze the statistics "
        "(bn.freeze) or use bn.GroupNorm, which does not depend on the batch",
    ),
    "tiny weight": (
        f"channels have |weight| below {TINY_WEIGHT:g}",
        "remove them, or keep weight decay away from the weight (normal where training starts from "
        "zeros)",
    ),
    "tiny var": (
        f"channels have a nearly constant input (variance at most {TINY_VAR:g} eps)",
        "remove them, or look for zero weights or a dead ReLU before",
    ),
}


@dataclass(frozen=True, eq=False)
class LayerReport:
    """What `report` measured of one layer.

    Attributes
    ----------
    name, kind : str
        The layer's dotted path in the model, and its class.
    samples : int
        Size of the input's first axis.
    values : int
        Values per channel in one call; the least, if there were several calls.
    z : ndarray of float64, shape (C,)
        ``|running_mean - mean| / sqrt(var + eps)``, where mean and var are the input's. NaN without
        running statistics or values.
    var_ratio : ndarray of float64, shape (C,)
        (running_var + eps) / (var + eps).
    tiny_weight : tuple of int
        The channels with ``|weight|`` below 1e-3: the output is nearly the bias.
    tiny_var : tuple of int
        The channels whose input has a variance of at most eps / 100: eps is then nearly all that
        it is divided by, and the output is nearly constant.
    nonfinite_input : int
        The number of NaN and infinities in the input.
    unusable_running : tuple of int
        The channels whose running statistics are NaN, infinite or (the variance) negative.

    Examples
    --------
    >>> from bn import BatchNorm1d
    >>> layer = report(BatchNorm1d(2), np.array([[0.0, 2.0], [2.0, 4.0]])).layers[0]
    >>> layer.channels, layer.values, layer.z.round(2)
    (2, 2, array([1., 3.]))
    """

    name: str
    kind: str
    samples: int
    values: int
    z: Doubles
    var_ratio: Doubles
    tiny_weight: tuple[int, ...]
    tiny_var: tuple[int, ...]
    nonfinite_input: int
    unusable_running: tuple[int, ...]

    @property
    def channels(self) -> int:
        """The number of channels."""
        return self.z.size

    @property
    def z_max(self) -> float:
        """The largest z (NaN where there is none)."""
        return float(np.max(_finite(self.z)))

    @property
    def z_mean(self) -> float:
        """The mean of z over the channels."""
        return float(np.mean(_finite(self.z)))

    @property
    def dead(self) -> tuple[int, ...]:
        """The channels with a tiny weight or a tiny variance."""
        return tuple(sorted({*self.tiny_weight, *self.tiny_var}))

    @property
    def z_limit(self) -> float:
        """From where z is a finding: 0.5, or what chance explains in few samples, 6/sqrt(N)."""
        return max(FAR_MEAN, CHANCE / math.sqrt(max(self.samples, 1)))

    @property
    def var_ratio_limit(self) -> float:
        """From where the ratio, or its inverse, is a finding: 2, or exp(6·sqrt(2/N))."""
        return max(2.0, math.exp(CHANCE * math.sqrt(2 / max(self.samples, 1))))

    @property
    def far(self) -> bool:
        """Whether the running statistics are not those of the input."""
        ratio, limit = _finite(self.var_ratio), self.var_ratio_limit
        return self.z_max > self.z_limit or ratio.max() > limit or ratio.min() < 1 / limit

    @property
    def findings(self) -> tuple[str, ...]:
        """One line for each thing that is wrong: what it is, and what to do about it."""
        return tuple(f"{wrong}: {KINDS[kind][1]}" for kind, wrong in self._findings())

    def _findings(self) -> Iterator[tuple[str, str]]:
        """(kind, what is wrong) of each finding; `KINDS` has what to do."""
        if self.values == 0:
            yield "no values", "got no values, so nothing was measured"
        if self.nonfinite_input:
            yield (
                "nonfinite input",
                f"{self.nonfinite_input} values of its input are NaN or infinite",
            )
        if self.unusable_running:
            yield (
                "unusable running",
                f"{self._few('unusable_running')} have running statistics that are NaN, infinite "
                "or negative",
            )
        elif self.far:
            yield (
                "far",
                f"running statistics are not those of x (mean off by up to {self.z_max:.3g} "
                f"standard deviations, variance {_range(self.var_ratio)} times that of x), so eval "
                "mode gives other outputs than training",
            )
        if 0 < self.values < FEW_VALUES:
            yield "few values", f"{self.values} values per channel, fewer than {FEW_VALUES}"
        if self.tiny_weight:
            yield "tiny weight", f"{self._few('tiny_weight')} have |weight| below {TINY_WEIGHT:g}"
        if self.tiny_var:
            yield (
                "tiny var",
                f"{self._few('tiny_var')} have a nearly constant input (variance at most "
                f"{TINY_VAR:g} eps)",
            )

    def _few(self, field: str) -> str:
        """The first of a field's channels as text."""
        channels: tuple[int, ...] = getattr(self, field)
        return f"{len(channels)} of {self.channels} channels ({_first([*map(str, channels)])})"

    def _row(self) -> tuple[str, ...]:
        return (
            f"{self.name} ({self.kind})",
            f"{self.channels}",
            f"{self.values}",
            _number(self.z_max),
            _number(self.z_mean),
            _range(self.var_ratio),
            f"{len(self.dead)}",
            f"{self.nonfinite_input}",
            f"{len(self.unusable_running)}",
        )


@dataclass(frozen=True, eq=False)
class Report:
    """The batch normalization layers of a model on one input: text, numbers and picture.

    Attributes
    ----------
    model : str
        The model's class.
    input_shape : tuple of int
        Of x, or of its first array.
    layers : tuple of LayerReport
        In the model's order.
    sample_norms : tuple of str
        The names of layer, group and instance normalizations. They use no statistics of the batch
        and need no report.

    Examples
    --------
    >>> from bn import BatchNorm1d
    >>> found = report(BatchNorm1d(2), np.random.default_rng(0).standard_normal((400, 2)))
    >>> found.input_shape, found.advice
    ((400, 2), [])
    """

    model: str
    input_shape: Shape
    layers: tuple[LayerReport, ...]
    sample_norms: tuple[str, ...] = ()

    @property
    def advice(self) -> list[str]:
        """The findings of all layers: one line for each kind, with the names of its layers."""
        kinds: dict[str, list[tuple[str, str]]] = {}
        for layer in self.layers:
            for kind, wrong in layer._findings():
                kinds.setdefault(kind, []).append((layer.name, wrong))
        return [_line(kind, found) for kind, found in kinds.items()]

    def __str__(self) -> str:
        lines = [self._title()]
        if not self.layers:
            return "\n".join([*lines, *self._without_layers()])
        rows = [layer._row() for layer in self.layers]
        lines.append(aligned([*zip(*TITLES, strict=True), *rows]))
        advice = self.advice or [self._nothing()]
        return "\n".join([*lines, *(f"- {line}" for line in advice)])

    def _repr_html_(self) -> str:
        """What notebooks show: the same as the text, as a table and a list."""
        title, titles = self._title(), [" ".join(lines).strip() for lines in TITLES]
        if not self.layers:
            return "\n".join(f"<p>{escape(line)}</p>" for line in [title, *self._without_layers()])
        advice = "".join(f"<li>{escape(line)}</li>" for line in self.advice or [self._nothing()])
        table = html_table(titles, [layer._row() for layer in self.layers])
        return f"<p>{escape(title)}</p>\n{table}\n<ul>{advice}</ul>"

    def _nothing(self) -> str:
        """What is said without a finding: of few samples, also what could not have been found."""
        layer = min(self.layers, key=lambda layer: layer.samples)
        mean, var = layer.z_limit, layer.var_ratio_limit
        if mean <= FAR_MEAN and var <= 2:
            return NOTHING
        return (
            f"{NOTHING}; in {layer.samples} samples, a mean is a finding from {mean:.2g} standard "
            f"deviations on and a variance from a factor of {var:.2g} on, because less may be "
            "chance: more samples find less"
        )

    def _title(self) -> str:
        return f"Batch normalization in {self.model}, input {self.input_shape}"

    def _without_layers(self) -> list[str]:
        """What is said of a model without batch normalization, on which alone is reported."""
        lines = ["no batch normalization to report on"]
        if self.sample_norms:
            names = _first(self.sample_norms)
            lines.append(f"these use no statistics of the batch and need no report: {names}")
        return lines

    def plot(self) -> Figure:
        """A picture of z and of the variances' ratio: a point per channel, and the limits.

        Returns
        -------
        matplotlib.figure.Figure
            Made without pyplot, whose state stays as it is.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        _check.optional_package("Report.plot", "matplotlib")
        import matplotlib.style
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D

        with matplotlib.style.context("default"):
            size = (max(6.0, 1.5 + 0.4 * len(self.layers)), 6.0)
            figure = Figure(figsize=size, dpi=150, layout="constrained")
            FigureCanvasAgg(figure)
            means, variances = figure.subplots(2, 1, sharex=True)
            for i, layer in enumerate(self.layers):
                limit = layer.var_ratio_limit
                _points(means, i, layer.z, (layer.z_limit,))
                _points(variances, i, layer.var_ratio, (limit, 1 / limit))
            means.set_title("running mean, distance from the batch's")
            means.set_ylim(bottom=0)
            means.set_ylabel("standard deviations")
            variances.set_ylabel("ratio")
            line = Line2D([], [], color="#d9730d", label="a finding from here on")
            # outside: inside, it would lie over the points or over the line itself
            figure.legend(handles=[line], loc="outside lower right", frameon=False, fontsize=8)
            variances.set_title("running variance / the batch's")
            variances.set_yscale("log")
            names = [layer.name for layer in self.layers]
            variances.set_xticks(range(len(names)), names, rotation=90)
            for axes in (means, variances):
                axes.grid(color="#e5e5e5", axis="y")
                axes.set_axisbelow(True)
                axes.spines[["top", "right"]].set_visible(False)
            figure.suptitle(f"{self.model}, input {self.input_shape}")
            return figure

    def save(self, path: str | PathLike[str]) -> None:
        """Write the picture of `plot` to a file, in the format that its name ends with.

        Parameters
        ----------
        path : str or path
            For example ``"report.png"``.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        self.plot().savefig(path)


def report(model: Module, x: Inputs, *, comm: Any = None, timeout: float = 60.0) -> Report:
    """Examine the batch normalization layers of a model on one batch.

    x goes through the model in eval mode, and each layer's input is measured beside the layer's
    running statistics: ``z = |running_mean - mean| / sqrt(var + eps)`` and
    ``(running_var + eps) / (var + eps)``.

    Parameters
    ----------
    model : Module
        It stays as it is: modes, statistics, gradients, what layers keep for backward.
    x : ndarray, or tuple or dict of arrays
        A batch of inputs (several by position or by name), best of training data and of 144
        samples or more; from fewer, only large distances are told from chance.
    comm : mpi4py communicator or bn.distributed.Communicator, optional
        Report on the x of all ranks together; all get the same report.
    timeout : float
        How many seconds to wait for other ranks.

    Returns
    -------
    Report
        ``print(report)`` is a table; ``.layers`` the numbers, ``.advice`` what to do as lines of
        text, ``.plot()`` and ``.save(path)`` a picture.

    Raises
    ------
    TypeError, ValueError
        model is no Module, or x does not fit it.

    Notes
    -----
    A finding is: z above 0.5 or a ratio beyond 2 (with N < 144 samples these limits widen to
    6/sqrt(N) and exp(6·sqrt(2/N)), beyond which chance is no explanation); fewer than 16 values per
    channel; ``|weight|`` below 1e-3; a variance of at most eps/100; anything that is not finite.
    Values that a mask leaves out do not count.

    References
    ----------
    Wu & Johnson, "Rethinking 'Batch' in BatchNorm", 2021. Wu & He, "Group normalization", 2018
    (small batches). Liu et al., "Learning efficient convolutional networks through network
    slimming", 2017 (tiny weights).

    Examples
    --------
    >>> from bn import BatchNorm1d, nn
    >>> x = np.array([[4.0, -1.0], [6.0, 1.0]] * 50)
    >>> found = report(nn.Sequential(BatchNorm1d(2)), x)
    >>> found.layers[0].z.round(2), found.layers[0].values
    (array([5., 0.]), 100)
    >>> found.advice[0][:42]
    '0: running statistics are not those of x ('
    """
    _check.instance("model", model, Module)
    looks = {id(layer): _Look(path, layer) for path, layer in batch_norms(model)}

    def add(path: str, layer: BatchNorm, x: Array, y: Array, batch: Stats) -> None:
        looks[id(layer)].add(x, batch)

    x = _check.inputs("x", x)
    n, *shape = arrays_of(x)[0].shape
    ignored = np.errstate(all="ignore")
    with (
        team_of(comm, timeout) as team,
        unchanged(model),
        watching(model, add),
        no_stat_update(),
        ignored,
    ):
        model.eval()
        call_with(model, x)
        if team is not None:
            (n,) = team.sum("samples", np.array([n])).tolist()
            for look in looks.values():
                look.share(team)
        layers = tuple(look.measured() for look in looks.values())
    return Report(type(model).__name__, (n, *shape), layers, _sample_norms(model))


def _sample_norms(model: Module) -> tuple[str, ...]:
    """The names and the classes of layer, group and instance normalizations."""
    return tuple(
        f"{path} ({type(layer).__name__})" if path else type(layer).__name__
        for path, layer in model.named_modules()
        if isinstance(layer, SampleNorm)
    )


class _Look:
    """What one layer got."""

    def __init__(self, name: str, layer: BatchNorm) -> None:
        self.name, self.layer = name, layer
        self.parts: list[Stats] = []
        self.samples: list[int] = []
        self.nonfinite = 0

    def add(self, x: Array, batch: Stats) -> None:
        self.parts.append(batch)
        self.samples.append(x.shape[0])
        self.nonfinite += x.size - int(np.count_nonzero(np.isfinite(x)))

    def share(self, team: Team) -> None:
        """Take in what the layer got on other ranks, which called it as often."""
        place = f"statistics of layer {self.name}"
        self.parts = [team.merged(place, part) for part in self.parts]
        numbers = team.sum(place, np.array([*self.samples, self.nonfinite])).tolist()
        *self.samples, self.nonfinite = numbers

    def measured(self) -> LayerReport:
        layer = self.layer
        values = min((int(min(part.count, default=0)) for part in self.parts), default=0)
        channels = layer.num_features or 0
        z, var_ratio = (np.full(channels, np.nan) for _ in range(2))
        tiny_weight = tiny_var = unusable = np.zeros(channels, bool)
        if layer.weight is not None:
            tiny_weight = abs(layer.weight.data) < TINY_WEIGHT
        mean, var = layer.running_mean, layer.running_var
        if mean is not None and var is not None:
            unusable = ~(np.isfinite(mean) & np.isfinite(var) & (var >= 0))
        if values > 0:
            batch = merge(self.parts)
            if batch.count.min() > 1:  # of one value there is no variance
                tiny_var = batch.var <= TINY_VAR * layer.eps
            if mean is not None and var is not None:
                z = abs(mean - batch.mean) / np.sqrt(batch.var + layer.eps)
                var_ratio = (var + layer.eps) / (batch.var + layer.eps)
        return LayerReport(
            name=self.name,
            kind=type(layer).__name__,
            samples=min(self.samples, default=0),
            values=values,
            z=z,
            var_ratio=var_ratio,
            tiny_weight=_channels(tiny_weight),
            tiny_var=_channels(tiny_var),
            nonfinite_input=self.nonfinite,
            unusable_running=_channels(unusable),
        )


def _channels(which: Array) -> tuple[int, ...]:
    return tuple(np.flatnonzero(which).tolist())


def _finite(values: Doubles) -> Doubles:
    """The finite ones; one NaN if there is none."""
    found = values[np.isfinite(values)]
    return found if found.size else np.array([np.nan])


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def _line(kind: str, found: list[tuple[str, str]]) -> str:
    """The advice for one kind of finding, given (layer's name, what is wrong)."""
    of_several, remedy = KINDS[kind]
    if len(found) == 1:
        name, wrong = found[0]
        return f"{name}: {wrong}: {remedy}"
    return f"{len(found)} layers ({_first([name for name, _ in found])}): {of_several}: {remedy}"


def _first(names: Sequence[str]) -> str:
    """The first five of some names as text."""
    return ", ".join(names[:5]) + ", ..." * (len(names) > 5)


def _range(values: Doubles) -> str:
    """The least and the largest as text.

    Examples
    --------
    >>> _range(np.array([0.25, 4.0]))
    '0.25 to 4'
    """
    low, high = (_number(f(_finite(values))) for f in (np.min, np.max))
    return low if low == high else f"{low} to {high}"


def _points(axes: Axes, place: int, values: Doubles, limits: tuple[float, ...]) -> None:
    found = values[np.isfinite(values)]
    axes.plot(np.full(found.size, place), found, "o", color="#0b6e99", markersize=3.5, alpha=0.4)
    axes.hlines(limits, place - 0.4, place + 0.4, color="#d9730d")
