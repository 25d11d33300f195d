"""Whether running statistics cost accuracy that a network has in training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product

import bn
from bn import nn
from bn.layers.batch_norm import BatchNorm, batch_norms
from bn.module import Module
from bn.study import data, networks
from bn.study.conclusion import Cell, Chart, Conclusion, Line, Table, judged
from bn.study.plan import Study, grid
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import Estimate, difference, estimate
from bn.study.training import Trained, train
from bn.types import Array

SAMPLES = 1000
BATCHES = (2, 8, 32, 128)
MOMENTA = (0.01, 0.1, 0.5)
USUAL = 0.1
EPOCHS = (1, 5)
RATES = (0.001, 0.004, 0.016, 0.064, 0.256)  # for batches of 32
# With the power of the batch's size that rates grow with, as in the study of batch sizes.
CASES = {"CNN": 0.5, "MLP": 1.0}
WHICH = ("network", "epochs", "batch")
NORMALIZED_BY = ("batch", *(f"running {m:g}" for m in MOMENTA), "recalibrated")


def settings(quick: bool) -> list[Setting]:
    found: list[Setting] = []
    for case, power in CASES.items():
        for batch in (2, 32) if quick else BATCHES:
            rates = [rate * (batch / 32) ** power for rate in RATES]
            found += grid(
                case=[case],
                batch=[batch],
                epochs=EPOCHS[:1] if quick else EPOCHS,
                lr=rates[1:4] if quick else rates,
                samples=[SAMPLES // 4 if quick else SAMPLES],
            )
    return found


def measure(setting: Setting, seed: int) -> Measured:
    samples = data.small_mnist(seed).first(setting["samples"])
    model = network(setting, samples, seed)
    running = [Running(model, momentum) for momentum in MOMENTA]
    with ExitStack() as stack:
        for one in running:
            stack.enter_context(bn.watching(model, one.follow))
        trained = train(
            model,
            samples,
            lr=setting["lr"],
            epochs=setting["epochs"],
            batch_size=setting["batch"],
            seed=seed,
            cosine=True,
            validate=False,
        )
    return accuracies(trained, running, setting["batch"])


def network(setting: Setting, samples: data.Data, seed: int) -> Module:
    shape, classes = samples.shape, samples.classes
    if setting["case"] == "CNN":
        return networks.cnn(shape, classes, norm="batch", seed=seed)
    return networks.mlp([math.prod(shape), 100, 100, classes], norm="batch", seed=seed)


class Running:
    """Running statistics of all layers with one momentum.

    In training a layer normalizes with its batch, whatever its running statistics are, so that one
    training serves all momenta.
    """

    def __init__(self, model: Module, momentum: float) -> None:
        self.model = model
        self.stats = {
            path: bn.RunningStats(layer.num_features, momentum=momentum)
            for path, layer in batch_norms(model)
        }

    def follow(self, path: str, layer: BatchNorm, x: Array, y: Array, batch: bn.Stats) -> None:
        if layer.training:
            self.stats[path].update(batch)

    def use(self) -> None:
        for path, layer in batch_norms(self.model):
            layer.running_mean, layer.running_var = self.stats[path].mean, self.stats[path].var


def accuracies(trained: Trained, running: list[Running], batch_size: int) -> Measured:
    """The test's accuracy with all statistics, and the validation's with recalibrated ones."""
    model, samples = trained.model, trained.data
    found: Measured = {}
    for one, momentum in zip(running, MOMENTA, strict=True):
        one.use()
        found[f"running {momentum:g}"] = trained.test()
    exact = trained.recalibrated()
    if exact.diverged:
        return dict.fromkeys(("validation", *NORMALIZED_BY), trained.chance)
    found["recalibrated"] = exact.test()
    scores = nn.evaluate(model, samples.x_validation, samples.y_validation)
    found["validation"] = scores["accuracy"]
    bn.freeze(model, use_batch_stats=True)
    scores = nn.evaluate(model, samples.x_test, samples.y_test, batch_size=batch_size)
    found["batch"] = scores["accuracy"]
    return found


@dataclass(frozen=True)
class Case:
    """A network after a training, with running statistics of one momentum."""

    results: Results  # with the rate that is best on samples for validation
    name: str
    epochs: int
    batch: int
    momentum: float

    def __str__(self) -> str:
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        return f"{self.name}, {epochs}, batches of {self.batch}, momentum {self.momentum:g}"

    def accuracy(self, normalized_by: str) -> Array:
        """In %, by seed."""
        return 100 * self.results.values(normalized_by)

    @property
    def running(self) -> Array:
        return self.accuracy(f"running {self.momentum:g}")

    @property
    def gap(self) -> Estimate:
        """How much more accurate the statistics of the test's batches are than running ones."""
        return difference(self.accuracy("batch"), self.running)

    @property
    def repaired(self) -> Estimate:
        """How much more accurate recalibrated statistics are than running ones."""
        return difference(self.accuracy("recalibrated"), self.running)


def trained_cases(results: Results) -> list[list[Case]]:
    """All trainings, each with all momenta."""
    found = []
    for name, epochs, batch in product(CASES, results.axis("epochs"), results.axis("batch")):
        chosen = results.where(case=name, epochs=epochs, batch=batch)
        best = chosen.where(lr=chosen.best("lr", "validation"))
        found.append([Case(best, name, epochs, batch, momentum) for momentum in MOMENTA])
    return found


def conclude(results: Results) -> Conclusion:
    trained = trained_cases(results)
    cases = [case for momenta in trained for case in momenta]
    gaps = [together(case.gap, len(cases)) for case in cases]
    return Conclusion(
        judged(gaps),
        sentence(cases, gaps),
        [chart(name, [case for case in cases if case.name == name]) for name in CASES],
        [table_of_accuracies(trained), table_of_repairs(trained)],
        [f"A gap is clear here, and counts for the verdict, if an interval does not contain 0 that "
         f"is wide enough for all {len(gaps)} gaps together (Bonferroni's correction). The "
         "intervals that are shown are those of each number alone.",
         "A training that diverged counts as chance, 10 %, with all statistics."],
        cases={str(case): gap for case, gap in zip(cases, gaps, strict=True)},
        measure="points of accuracy that running statistics lack",
    )  # fmt: skip


def together(gap: Estimate, count: int) -> Estimate:
    """With an interval so wide that 95 % is the chance that all of `count` hold (Bonferroni).

    Examples
    --------
    >>> print(together(Estimate(2.0, 0.5, 5), 48))
    2.0 ± 1.5
    """
    from scipy.stats import t

    if gap.n < 2:
        return gap
    wider = t.ppf(1 - 0.025 / count, gap.n - 1) / t.ppf(0.975, gap.n - 1)
    return Estimate(gap.mean, float(gap.half * wider), gap.n)


def sentence(cases: Sequence[Case], gaps: Sequence[Estimate]) -> str:
    """How often the gap is there, where it is largest, and where it is the other way round."""
    above = [c.batch for c, gap in zip(cases, gaps, strict=True) if gap.above_zero]
    below = [c.batch for c, gap in zip(cases, gaps, strict=True) if gap.below_zero]
    largest = max(cases, key=lambda case: case.gap.mean)
    least = min(cases, key=lambda case: case.gap.mean)
    usual = [c.gap.mean for c in cases if c.momentum == USUAL and c.epochs == max(EPOCHS)]
    batches = sorted({case.batch for case in cases})
    told = (
        f"Of {len(cases)} cases, the statistics of the test's batches are clearly more accurate "
        f"than running ones in {len(above)}{counted(above, batches)}, and clearly less in "
        f"{len(below)}{counted(below, batches)}. They gain most with "
        f"{largest}: {largest.gap} points, where recalibrated statistics gain {largest.repaired}. "
        f"They gain least with {least}: {least.gap} points."
    )
    if usual and not math.isnan(sum(usual)):
        told += (
            f" With the usual momentum of {USUAL:g} and {max(EPOCHS)} epochs, the means are "
            f"{min(usual):.1f} to {max(usual):.1f} points.".replace("-", "−")
        )
    return told


def counted(found: Sequence[int], batches: Sequence[int]) -> str:
    """How many were found with each size of batches.

    Examples
    --------
    >>> counted([8, 8], [2, 8])
    ' (batches of 2: 0, of 8: 2)'
    """
    if not found:
        return ""
    return f" (batches {', '.join(f'of {b}: {found.count(b)}' for b in batches)})"


def chart(name: str, cases: Sequence[Case]) -> Chart:
    lines = []
    epochs = dict.fromkeys(case.epochs for case in cases)
    for length, momentum in product(epochs, MOMENTA):
        chosen = [c for c in cases if (c.epochs, c.momentum) == (length, momentum)]
        called = f"momentum {momentum:g}, epochs: {length}"
        lines.append(Line(called, [c.batch for c in chosen], [c.gap for c in chosen]))
    label = "gap, points of accuracy"
    return Chart(
        f"{name}: accuracy with the batches' statistics minus that with running ones",
        "samples in a batch", label, lines, log_x=True,
    )  # fmt: skip


def table_of_accuracies(trained: Sequence[Sequence[Case]]) -> Table:
    rows: list[list[Cell]] = [
        [*which(case), *(estimate(case.accuracy(name)) for name in NORMALIZED_BY)]
        for case, *_ in trained
    ]
    head = ["test's batches", *(f"running, {m:g}" for m in MOMENTA), "recalibrated"]
    return Table("Test accuracy in %, by the statistics that normalize", [*WHICH, *head], rows)


def table_of_repairs(trained: Sequence[Sequence[Case]]) -> Table:
    rows: list[list[Cell]] = [
        [*which(momenta[0]), *(case.repaired for case in momenta)] for momenta in trained
    ]
    return Table(
        "Points of accuracy that recalibration (bn.recalibrate) adds to running statistics",
        [*WHICH, *(f"momentum {m:g}" for m in MOMENTA)],
        rows,
    )


def which(case: Case) -> list[Cell]:
    return [case.name, str(case.epochs), str(case.batch)]


STUDY = Study(
    "train-eval",
    "Running statistics make a network less accurate in inference than its batches' own "
    "statistics do in training.",
    "Singh and Shrivastava (2019, EvalNorm) correct the statistics of inference, which gains 6.18 "
    "points of accuracy on ImageNet after a training with batches of 2. Summers and Dinneen (2020) "
    "find that the statistics of inference differ from those of training, and gain accuracy when "
    "a sample's own statistics have a share in them.",
    "Networks learn 1,000 images of MNIST, reduced to 14 × 14 pixels, in batches of 2, 8, 32 and "
    "128, for 1 epoch (with batches of 128 these are 8 steps, in which a slow momentum keeps much "
    "of the beginning) and for 5. The CNN has two convolutions (16 and 32 channels, 3 × 3, ReLU, "
    "max pooling) and a linear layer; the MLP has two hidden layers of 100 ReLUs, where a batch of "
    "2 gives a channel 2 values. SGD has a momentum of 0.9 and a rate that falls along a cosine "
    "from epoch to epoch. After the training 1,000 other images are normalized with the running "
    f"statistics of momenta {', '.join(f'{m:g}' for m in MOMENTA)} (the newest batch's weight), "
    "with the statistics of their own batches, as large as in training, and with those of all "
    "training samples, which bn.recalibrate computes afterwards. Each case has the learning rate, "
    f"of {', '.join(f'{r:g}' for r in RATES)} times √(b / 32) in the CNN and b / 32 in the MLP, "
    "that is best on 500 samples for validation with recalibrated statistics; so it does not "
    "depend on the momentum.",
    settings,
    measure,
    conclude,
    minutes=8,
)
