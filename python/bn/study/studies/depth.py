"""Whether batch normalization lets deeper networks train, plain ones and residual ones."""

from __future__ import annotations

import math

import numpy as np

from bn import nn
from bn.module import Module
from bn.study import data, networks
from bn.study.conclusion import Cell, Chart, Conclusion, Line, Table, judged
from bn.study.plan import Study, extended, grid
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import Estimate, difference, estimate
from bn.study.training import train_as
from bn.types import Array

KINDS = ("plain", "residual")
# Each with its name, its normalization and its initial weights.
ARMS: dict[str, tuple[str, str, str]] = {
    "batch": ("with batch normalization", "batch", "usual"),
    "none": ("without, the same weights", "none", "usual"),
    "adapted": ("without, weights for depth", "none", "adapted"),
}
TWINS = {"none": "twin with the same weights", "adapted": "twin with weights for depth"}
DEPTHS = (8, 14, 20, 32)
RATES = (0.0004, 0.0016, 0.006, 0.025, 0.1, 0.4, 1.6)


def settings(quick: bool) -> list[Setting]:
    depths, rates, epochs = ((8, 20), RATES[2:4], 4) if quick else (DEPTHS, RATES, 10)
    return [
        {**setting, "norm": ARMS[setting["arm"]][1], "weights": ARMS[setting["arm"]][2]}
        for setting in extended(
            grid(depth=depths, kind=KINDS, arm=list(ARMS), lr=rates),
            samples=500 if quick else 1000, epochs=epochs, batch_size=32, width=8,
        )
    ]  # fmt: skip


# ---- the networks ----


class Drawn:
    """Makes convolutions, the weights of which it draws.

    Parameters
    ----------
    norm : {"batch", "none"}
        Behind each convolution, which has a bias if it is "none".
    weights : {"usual", "adapted"}
        Usual weights have the variance 2 / (out_channels * size * size), as in torchvision. Adapted
        ones have 2 / (in_channels * pixels), by which the variance stays the same from ReLU to
        ReLU; pixels beyond the border are not counted, because on small images many are, and deep
        networks fade out by them.
    rng : Generator
    """

    def __init__(self, norm: str, weights: str, rng: np.random.Generator) -> None:
        self.norm, self.weights, self.rng = norm, weights, rng

    def convolution(
        self,
        before: int,
        after: int,
        side: int,
        size: int = 3,
        stride: int = 1,
        *,
        zero: bool = False,
    ) -> list[Module]:
        """A convolution of square images of so many pixels on a side, and its normalization."""
        bias = self.norm == "none"
        conv = nn.Conv2d(before, after, size, stride, size // 2, bias=bias, rng=self.rng)
        usual = after * size**2
        inputs = usual if self.weights == "usual" else before * pixels(side, size, stride)
        std = 0.0 if zero else math.sqrt(2 / inputs)
        conv.weight.data[...] = self.rng.normal(0, std, conv.weight.shape)
        if conv.bias is not None:
            conv.bias.data[...] = 0
        return [conv, *networks.normalization(self.norm, after)]

    def block(self, kind: str, before: int, after: int, side: int, stride: int) -> list[Module]:
        """Two convolutions, and the sum with their input if the network is residual.

        With adapted weights the second one begins with zeros if it is residual, so that each sum
        is the input at first, and does not grow with the depth.
        """
        zero = kind == "residual" and self.weights == "adapted"
        body = nn.Sequential(
            *self.convolution(before, after, side, stride=stride),
            nn.ReLU(),
            *self.convolution(after, after, -(-side // stride), zero=zero),
        )
        if kind == "plain":
            return [body, nn.ReLU()]
        shortcut = None
        if before != after:
            shortcut = nn.Sequential(*self.convolution(before, after, side, 1, stride))
        return [nn.Residual(body, shortcut), nn.ReLU()]


def pixels(side: int, size: int, stride: int) -> float:
    """How many pixels of a square image a window has, in the mean over its places.

    Examples
    --------
    >>> pixels(2, 3, 1), pixels(8, 1, 2)
    (4.0, 1.0)
    """
    half = size // 2
    rows = [min(i + half, side - 1) - max(i - half, 0) + 1 for i in range(0, side, stride)]
    return (sum(rows) / len(rows)) ** 2


def network(
    depth: int, kind: str, drawn: Drawn, shape: tuple[int, ...], classes: int, width: int
) -> Module:
    """He et al.'s network for CIFAR-10, of 6 n + 2 layers, residual or plain.

    Three stages of n blocks have `width`, twice and four times as many channels.

    Examples
    --------
    >>> drawn = Drawn("batch", "usual", np.random.default_rng(0))
    >>> ours = network(20, "residual", drawn, (1, 32, 32), classes=10, width=16)
    >>> known = nn.models.CifarResNet(3, in_channels=1)
    >>> [sum(p.data.size for p in model.parameters()) for model in (ours, known)]
    [272186, 272186]
    """
    before, side = width, shape[-1]
    layers = [*drawn.convolution(shape[0], width, side), nn.ReLU()]
    for stage in range(3):
        after = width * 2**stage
        for i in range((depth - 2) // 6):
            stride = 2 if stage > 0 and i == 0 else 1
            layers += drawn.block(kind, before, after, side, stride)
            before, side = after, -(-side // stride)
    linear = nn.Linear(before, classes, rng=drawn.rng)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


# ---- what is measured, and what follows ----


def measure(setting: Setting, seed: int) -> Measured:
    samples = data.digits(seed).first(setting["samples"])
    model = network(
        setting["depth"],
        setting["kind"],
        Drawn(setting["norm"], setting["weights"], np.random.default_rng(seed)),
        samples.shape,
        samples.classes,
        setting["width"],
    )
    trained = train_as(setting, model, samples, seed, cosine=True, validate=False)
    # The loss of a network that knows nothing stands for one that is not finite.
    loss = math.log(samples.classes) if trained.diverged else trained.loss[-1]
    return {**trained.summary(), "loss": loss}


def conclude(results: Results) -> Conclusion:
    depths = results.axis("depth")
    deepest = depths[-1]
    gains = {
        f"{kind}, {name}": gain(results, deepest, kind, twin)
        for kind in KINDS
        for twin, name in TWINS.items()
    }
    rows: list[list[Cell]] = [
        [f"{kind}, {depth} layers", *(told(results, depth, kind, arm) for arm in ARMS),
         *(gain(results, depth, kind, twin) for twin in TWINS)]
        for kind in KINDS
        for depth in depths
    ]  # fmt: skip
    losses: list[list[Cell]] = [
        [f"{kind}, {depth} layers", *(loss(results, depth, kind, arm) for arm in ARMS)]
        for kind in KINDS
        for depth in depths
    ]
    names = [name for name, _, _ in ARMS.values()]
    return Conclusion(
        judged(gains.values()),
        sentence(results, gains),
        [*(accuracy_chart(results, kind) for kind in KINDS), loss_chart(results)],
        [
            Table("Test accuracy, %, each with the rate that was chosen for it",
                  ["network", *names, "gain over the same weights",
                   "gain over weights for depth"], rows),
            Table("Loss of the training in the last epoch", ["network", *names], losses),
        ],
        [f"The verdict is about the networks of {deepest} layers, and both twins without batch "
         "normalization. A training whose loss is no longer finite counts with chance: 10 %, and "
         "a loss of ln 10.",
         "The trainings are short. A network that learns too slowly cannot be told from one that "
         "cannot learn."],
        cases=gains,
        measure="points of accuracy gained in the deepest networks",
    )  # fmt: skip


def sentence(results: Results, gains: dict[str, Estimate]) -> str:
    """What batch normalization brings to the deepest networks, and what depth does to it."""
    least, deepest = results.axis("depth")[0], results.axis("depth")[-1]
    compared = "; ".join(f"{name}: {found}" for name, found in gains.items())
    changes = ", ".join(f"{change(results, least, deepest, kind)} ({kind})" for kind in KINDS)
    return (
        f"Percentage points of test accuracy that {deepest} layers with batch normalization have "
        f"more than a twin without it: {compared}. From {least} to {deepest} layers the "
        f"accuracy with batch normalization changes by {changes}."
    )


def rate(results: Results, depth: int, kind: str, arm: str) -> float:
    """The learning rate that is best on the samples for validation."""
    chosen: float = results.best("lr", "validation", depth=depth, kind=kind, arm=arm)
    return chosen


def accuracies(results: Results, depth: int, kind: str, arm: str) -> Array:
    """The test accuracies at the chosen rate, by seed, in percent."""
    return 100 * results.tuned("test", depth=depth, kind=kind, arm=arm)


def gain(results: Results, depth: int, kind: str, twin: str) -> Estimate:
    """How many percentage points batch normalization has more than a twin."""
    with_norm = accuracies(results, depth, kind, "batch")
    return difference(with_norm, accuracies(results, depth, kind, twin))


def change(results: Results, least: int, deepest: int, kind: str) -> Estimate:
    """How many percentage points the deepest network has more than the least deep, both with it."""
    deep = accuracies(results, deepest, kind, "batch")
    return difference(deep, accuracies(results, least, kind, "batch"))


def told(results: Results, depth: int, kind: str, arm: str) -> str:
    accuracy = estimate(accuracies(results, depth, kind, arm))
    return f"{accuracy} (rate {rate(results, depth, kind, arm):g})"


def loss(results: Results, depth: int, kind: str, arm: str) -> Estimate:
    """The loss at the chosen rate."""
    return estimate(results.tuned("loss", depth=depth, kind=kind, arm=arm))


def accuracy_chart(results: Results, kind: str) -> Chart:
    depths = results.axis("depth")
    lines = [
        Line(name, depths, [estimate(accuracies(results, depth, kind, arm)) for depth in depths])
        for arm, (name, _, _) in ARMS.items()
    ]
    return Chart(f"{kind.capitalize()} networks", "layers", "test accuracy, %", lines)


def loss_chart(results: Results) -> Chart:
    depths = results.axis("depth")
    lines = [
        Line(f"{kind}, {name}", depths, [loss(results, depth, kind, arm) for depth in depths])
        for kind in KINDS
        for arm, (name, _, _) in ARMS.items()
    ]
    title = "Loss of the training in the last epoch"
    return Chart(title, "layers", "cross-entropy", lines, log_y=True)


STUDY = Study(
    "depth",
    "Batch normalization lets deeper networks train.",
    "He et al. (2015, section 4.1) train plain and residual networks on ImageNet, all with batch "
    "normalization. Plain ones of 18 and 34 layers have errors of 27.94 % and 28.54 %, residual "
    "ones 27.88 % and 25.03 %: batch normalization alone does not make the deeper plain network "
    "better. Zhang et al. (2019) and De and Smith (2020) train deep residual networks without it, "
    "by initial weights with which each block begins as the identity.",
    "He et al.'s networks for CIFAR-10 with 8, 14, 20 and 32 layers, but half of the channels (8, "
    "16, 32), with sums around each pair of convolutions (residual) or without (plain). They learn "
    "1,000 digits of 8 × 8 pixels for 10 epochs in batches of 32, by SGD with a momentum of 0.9 "
    "and a rate that falls to 0 along a cosine. There are two twins without normalization, whose "
    "convolutions have a bias: one with the same initial weights, those of torchvision's ResNets, "
    "and one with weights for depth. These have He's variance for what each window really sees at "
    "the border of such small images; in residual networks the second convolution of each block "
    f"begins with zeros. The rates are {', '.join(f'{r:g}' for r in RATES)}; each network has the "
    "one that is best on 200 samples for validation.",
    settings,
    measure,
    conclude,
    minutes=28,
)
