"""Whether loss and gradient vary less along a step with batch normalization."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bn import nn
from bn.module import Module
from bn.study import data, networks
from bn.study.conclusion import Cell, Chart, Conclusion, Line, Table, judged
from bn.study.plan import Study, by_case
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import Estimate, difference, estimate, times
from bn.types import Array

NORMS = {"batch": "with batch normalization", "none": "without"}
RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
STEPS = (0.5, 1.0, 2.0, 4.0)  # lengths, as multiples of the training's step
BATCH = 60
PLACES = 20
HE = math.sqrt(2)
# The absolute ones are the paper's. The relative ones are the same for a loss times a factor.
MEASURES = {
    "loss": "range of the loss",
    "gradient": "change of the gradient",
    "beta": "effective β-smoothness",
    "relative loss": "range of the loss / loss",
    "relative gradient": "change of the gradient / gradient",
}
ABSOLUTE, RELATIVE = tuple(MEASURES)[:3], tuple(MEASURES)[3:]
SHORT = ("loss", "gradient", "β", "loss,\nrelative", "gradient,\nrelative")  # for the charts
SAME, BEST = "at the same rate", "at each one's best rate"
# Each with the gain of the initial weights, and the number of epochs.
CASES: dict[str, dict[str, Any]] = {
    "MLP, 3 hidden layers": {"network": "mlp", "gain": HE, "epochs": 20},
    "CNN, 4 convolutions": {"network": "cnn", "gain": HE, "epochs": 10},
    "25 linear layers": {"network": "linear", "gain": 1.0, "epochs": 20},
}


def settings(quick: bool) -> list[Setting]:
    rates = RATES[1:4] if quick else RATES
    return by_case(CASES, shorter=2 if quick else 1, norm=list(NORMS), lr=rates)


def network(setting: Setting, samples: data.Data, seed: int) -> Module:
    kind, norm, shape, classes = setting["network"], setting["norm"], samples.shape, samples.classes
    if kind != "linear":
        return networks.small(kind, shape, classes, norm=norm, seed=seed)
    sizes = [math.prod(shape), *[50] * 24, classes]
    return networks.mlp(sizes, norm=norm, seed=seed, activation=nn.Identity)


# ---- the measurement ----


@dataclass
class Descent:
    """A model that goes down its gradient, and the loss around it."""

    model: Module
    lr: float

    def loss(self, x: Array, y: Array) -> float:
        """The loss of a batch; the parameters get its gradient."""
        criterion = nn.CrossEntropyLoss()
        self.model.zero_grad()
        loss = float(criterion(self.model(x), y))
        self.model.backward(criterion.backward())
        return loss

    def gradient(self) -> list[Array]:
        return [p.grad for p in self.model.parameters() if p.grad is not None]

    def move(self, gradient: list[Array], steps: float) -> None:
        for parameter, grad in zip(self.model.parameters(), gradient, strict=True):
            parameter.data -= np.float32(steps * self.lr) * grad

    def look_ahead(self, x: Array, y: Array) -> dict[str, float]:
        """How loss and gradient of a batch vary along the step; the model stays as it is."""
        before = {name: value.copy() for name, value in self.model.state_dict().items()}
        loss = self.loss(x, y)
        gradient = [grad.copy() for grad in self.gradient()]
        losses, changes = [], []
        for steps in STEPS:
            self.model.load_state_dict(before)
            self.move(gradient, steps)
            losses.append(self.loss(x, y))
            there = zip(self.gradient(), gradient, strict=True)
            changes.append(length([after - start for after, start in there]))
        self.model.load_state_dict(before)
        return variations(self.lr, loss, length(gradient), losses, changes)


def length(arrays: list[Array]) -> float:
    """The l2 norm of all values together.

    Examples
    --------
    >>> length([np.array([3.0]), np.array([[0.0, 4.0]])])
    5.0
    """
    return math.sqrt(sum(float(np.vdot(a, a)) for a in arrays))


def variations(
    lr: float, loss: float, gradient: float, losses: list[float], changes: list[float]
) -> dict[str, float]:
    """The measures of one place, by the loss and the length of its gradient there, and by losses
    and changes of the gradient at the ends of STEPS.

    Examples
    --------
    >>> variations(0.1, 2.0, 5.0, [2.0, 1.5, 1.0, 3.0], [1.0, 2.0, 4.0, 10.0])
    {'loss': 2.0, 'gradient': 10.0, 'beta': 5.0, 'relative loss': 1.0, 'relative gradient': 2.0}
    """
    wide, change = float(np.ptp(losses)), float(np.max(changes))
    tiny = 1e-30  # instead of 0
    bends = [c / max(s * lr * gradient, tiny) for c, s in zip(changes, STEPS, strict=True)]
    found = {
        "loss": wide,
        "gradient": change,
        "beta": float(np.max(bends)),
        "relative loss": wide / max(loss, tiny),
        "relative gradient": change / max(gradient, tiny),
    }
    # Where a step ends in NaN, there is no limit to how rough it is.
    return {name: math.inf if math.isnan(value) else value for name, value in found.items()}


def batches(samples: data.Data, epochs: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """Full batches in a new order each epoch."""
    rng = np.random.default_rng(seed)
    count = len(samples.x) // BATCH
    for _ in range(epochs):
        for chosen in rng.permutation(len(samples.x))[: count * BATCH].reshape(count, BATCH):
            yield samples.x[chosen], samples.y[chosen]


def measure(setting: Setting, seed: int) -> Measured:
    samples = data.digits(seed)
    model = networks.draw_weights(network(setting, samples, seed), setting["gain"], seed)
    descent = Descent(model, setting["lr"])
    total = setting["epochs"] * (len(samples.x) // BATCH)
    seen = []
    chance = 1 / samples.classes
    for i, (x, y) in enumerate(batches(samples, setting["epochs"], seed)):
        if i * PLACES % total < PLACES:  # as evenly as whole steps allow
            seen.append(descent.look_ahead(x, y))
        if not math.isfinite(descent.loss(x, y)):
            return {"validation": chance, "test": chance, **dict.fromkeys(MEASURES, math.nan)}
        descent.move(descent.gradient(), 1.0)
    return {
        "validation": nn.evaluate(model, samples.x_validation, samples.y_validation)["accuracy"],
        "test": nn.evaluate(model, samples.x_test, samples.y_test)["accuracy"],
        **{name: float(np.median([place[name] for place in seen])) for name in MEASURES},
    }


# ---- the conclusion ----

Gains = dict[tuple[str, str, str], Estimate]  # by case, comparison and measure


def conclude(results: Results) -> Conclusion:
    gains: Gains = {}
    accuracies: list[list[Cell]] = []
    rows: list[list[Cell]] = []
    for case in results.axis("case"):
        chosen = results.where(case=case)
        best = {norm: chosen.best("lr", "validation", norm=norm) for norm in NORMS}
        for rates, comparison in ((dict.fromkeys(NORMS, best["none"]), SAME), (best, BEST)):
            for name, words in MEASURES.items():
                found = {n: logarithms(chosen, name, n, lr) for n, lr in rates.items()}
                gain = difference(found["none"], found["batch"])
                gains[case, comparison, name] = gain
                cells = [times(estimate(found[norm])) for norm in NORMS]
                rows.append([case, comparison, words, *cells, times(gain)])
            accuracies += [
                [case, comparison, NORMS[n], f"{lr:g}", chosen.estimate("test", 100, norm=n, lr=lr)]
                for n, lr in rates.items()
            ]
    return Conclusion(
        judged(gains.values()),
        sentence(results.axis("case"), gains),
        [chart(case, gains) for case in results.axis("case")],
        [Table("How much loss and gradient vary along a step, and how many times as much without "
               "batch normalization (geometric means, 95 % intervals)",
               ["network", "compared", "measure", *NORMS.values(), "without / with"], rows),
         Table("The trainings that were compared",
               ["network", "compared", "", "rate", "test accuracy, %"], accuracies)],
        ["The first three measures are absolute, as in the paper. They depend on the size of the "
         "loss, which falls faster in one network than in the other. The two relative ones do not. "
         "Where the rate is the same, it is the best one without batch normalization.",
         "A dash stands where a training diverged."],
        cases={
            f"{case}, {compared} ({MEASURES[name]})": gain
            for (case, compared, name), gain in gains.items()
        },
        measure="variation without it / variation with it",
        logarithms=True,
    )  # fmt: skip


def logarithms(results: Results, name: str, norm: str, lr: float) -> Array:
    """To base 10, by seed; NaN for trainings that diverged."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log10(results.values(name, norm=norm, lr=lr))
    return np.asarray(np.where(np.isfinite(found), found, math.nan))


def sentence(cases: list[str], gains: Gains) -> str:
    counts = " and ".join(
        f"in {counted(gains, names, kind)}"
        for kind, names in (("absolute comparisons", ABSOLUTE), ("relative ones", RELATIVE))
    )
    changes = "; ".join(
        f"{case}: {times(gains[case, SAME, 'relative gradient'])} and "
        f"{times(gains[case, BEST, 'relative gradient'])}"
        for case in cases
    )
    return (
        f"The network with batch normalization is smoother {counts}. Without it the gradient, "
        "relative to its length, changes this many times as much along a step, at the same rate "
        f"and at each one's best rate: {changes}."
    )


def counted(gains: Gains, names: Sequence[str], kind: str) -> str:
    """In how many comparisons the interval says smoother, and in how many rougher."""
    chosen = [gain for (_, _, name), gain in gains.items() if name in names]
    rougher = sum(gain.below_zero for gain in chosen)
    smoother = sum(gain.above_zero for gain in chosen)
    return f"{smoother} of {len(chosen)} {kind} (rougher in {rougher})"


def chart(case: str, gains: Gains) -> Chart:
    """The gains of one network, as powers of 10."""
    lines = [
        Line(comparison, list(SHORT), [gains[case, comparison, name] for name in MEASURES])
        for comparison in (SAME, BEST)
    ]
    title = f"{case}: above 0, batch normalization is smoother"
    return Chart(title, "", "without / with, as power of 10", lines, level=0)


STUDY = Study(
    "smoothness",
    "Batch normalization makes the loss smoother: loss and gradient vary less along a step.",
    "Santurkar and others (2018, figure 4) look along the gradient of a VGG network that trains on "
    "CIFAR-10, and in the appendix along that of a linear network of 25 layers. With batch "
    "normalization the range of losses, the change of the gradient in the l2 norm, and the largest "
    "quotient of this change and the distance (effective β-smoothness) are smaller throughout the "
    "training.",
    "A perceptron of 3 × 100 ReLUs, a CNN of four convolutions (16 channels, 3 × 3, ReLU, max "
    "pooling after each second one) and 25 linear layers of 50 features without activations learn "
    "1,197 digits of 8 × 8 pixels in batches of 60, by SGD without momentum. The CNN learns for 10 "
    "epochs and the others for 20. Weights are drawn as He and others (2015) propose for ReLUs, "
    "and with a variance of 1 / inputs in the linear network; twins have the same. At "
    f"{PLACES} moments of each training the loss and the gradient of the batch are taken at the "
    "ends of steps of 0.5, 1, 2 and 4 times the training's own step, with the statistics of that "
    "batch; a training counts with the median of these moments. The rates are "
    f"{', '.join(f'{r:g}' for r in RATES)}; validation chooses.",
    settings,
    measure,
    conclude,
    minutes=8,
)
