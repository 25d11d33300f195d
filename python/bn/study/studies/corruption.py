"""Whether new statistics make up for images that are taken worse than those of the training."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

import bn
from bn import nn
from bn.module import Module
from bn.study import data, networks
from bn.study.conclusion import Chart, Conclusion, Line, Table, judged
from bn.study.corruptions import CORRUPTIONS, LEVELS
from bn.study.plan import Study, extended, grid
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import Estimate, difference, estimate
from bn.study.training import train_as
from bn.types import Array

RATES = (0.003, 0.01, 0.03, 0.1, 0.3)
# What a network gets before the images: options of `bn.adapt`, or nothing.
METHODS: dict[str, dict[str, Any] | None] = {
    "statistics of the training": None,
    "statistics of the images": {},
    "TENT, rate 0.001": {"method": "tent", "lr": 1e-3},
    "TENT, rate 0.01": {"method": "tent", "lr": 1e-2},
}
SOURCE, NEW, TENT, _ = METHODS
WITHOUT = "without batch normalization"
PRIORS = (0, 16, 64, 256)
COUNTS = (8, 32, 128, 1000)
BATCH = 100
CLEAN = "clean"


class Trial(NamedTuple):
    """An accuracy on the test's samples of one case, after so many of them were seen."""

    name: str
    case: str
    seen: int
    options: dict[str, Any] | None


def cases(kind: str) -> list[str]:
    """The levels of one kind of corruption.

    Examples
    --------
    >>> cases("noise")
    ['noise 1', 'noise 2', 'noise 3']
    """
    return [f"{kind} {level}" for level in LEVELS]


CORRUPTED = [case for kind in CORRUPTIONS for case in cases(kind)]
MIDDLE = [f"{kind} 2" for kind in CORRUPTIONS]


def settings(quick: bool) -> list[Setting]:
    rates = RATES[1:3] if quick else RATES
    samples, epochs = ("small_mnist", 3) if quick else ("mnist", 10)
    return extended(
        grid(norm=["batch", "none"], lr=rates), data=samples, epochs=epochs, batch_size=60
    )


def measure(setting: Setting, seed: int) -> Measured:
    source = data.mnist if setting["data"] == "mnist" else data.small_mnist
    samples = source(seed)
    model = networks.cnn(samples.shape, samples.classes, norm=setting["norm"], seed=seed)
    trained = train_as(setting, model, samples, seed, cosine=True, validate=False)
    images = {case: corrupted(samples.x_test, case, seed) for case in [CLEAN, *CORRUPTED]}
    scores: dict[str, list[float]] = {}
    for trial in trials(setting["norm"]):
        x = images[trial.case]
        score = trained.chance if trained.diverged else accuracy(model, x, samples.y_test, trial)
        scores.setdefault(trial.name, []).append(score)
    means = {name: float(np.mean(found)) for name, found in scores.items()}
    return {"validation": trained.reached(), "diverged": trained.diverged, **means}


def trials(norm: str) -> Iterator[Trial]:
    """What is tried with a network; those with one name are averaged."""
    methods = METHODS if norm == "batch" else {SOURCE: None}
    for method, case in product(methods, [CLEAN, *CORRUPTED]):
        yield Trial(f"{method}: {case}", case, max(COUNTS), METHODS[method])
    if norm == "batch":
        for prior, seen, case in product(PRIORS, COUNTS, MIDDLE):
            yield Trial(merged(prior, seen), case, seen, {"prior": prior})


def merged(prior: int, seen: int) -> str:
    return f"prior {prior}, {seen} images"


def corrupted(x: Array, case: str, seed: int) -> Array:
    if case == CLEAN:
        return x
    kind, level = case.split()
    return CORRUPTIONS[kind](x, int(level), seed)


def accuracy(model: Module, x: Array, y: Array, trial: Trial) -> float:
    """That of a copy, which has seen the first images without their labels."""
    adapted = copy.deepcopy(model)
    if trial.options is not None:
        batches = np.split(x[: trial.seen], range(BATCH, trial.seen, BATCH))
        bn.adapt(adapted, batches, **trial.options)
    return nn.evaluate(adapted, x, y)["accuracy"]


def conclude(results: Results) -> Conclusion:
    found = {method: best(results, "batch") for method in METHODS}
    lines = {method: (one, method) for method, one in found.items()}
    lines[WITHOUT] = (best(results, "none"), SOURCE)
    kinds = {CLEAN: [CLEAN], **{kind: cases(kind) for kind in CORRUPTIONS}}
    means = {
        line: {kind: mean(*place, which) for kind, which in kinds.items()}
        for line, place in lines.items()
    }
    gains = {kind: difference(means[NEW][kind], means[SOURCE][kind]) for kind in CORRUPTIONS}
    overall = {line: estimate(100 - mean(*place, CORRUPTED)) for line, place in lines.items()}
    tent = difference(mean(*lines[TENT], CORRUPTED), mean(*lines[NEW], CORRUPTED))
    counted = "; ".join(f"{kind}: {gain}" for kind, gain in gains.items())
    few = best(results, "batch")
    return Conclusion(
        judged(gains.values()),
        f"Error on corrupted images: {overall[SOURCE]} % with the statistics of the training, "
        f"{overall[NEW]} % with those of the images, where clean images have "
        f"{estimate(100 - means[SOURCE][CLEAN])} %. Accuracy that the images' statistics bring, "
        f"in points: {counted}. TENT at a rate of 0.001 brings {tent} more; the network without "
        f"batch normalization has an error of {overall[WITHOUT]} %.",
        [
            Chart("Accuracy by kind of corruption, mean of the levels", "", "test accuracy, %",
                  [Line(name, list(kinds), [estimate(v) for v in by_kind.values()])
                   for name, by_kind in means.items()]),
            Chart("Few images: error, mean of all corruptions at level 2", "images seen",
                  "test error, %",
                  [*(Line(f"prior {prior}", COUNTS, [few_error(few, prior, n) for n in COUNTS])
                     for prior in PRIORS),
                   Line(SOURCE, COUNTS, [estimate(100 - mean(few, SOURCE, MIDDLE))] * len(COUNTS))],
                  log_x=True),
        ],
        [
            Table("Test accuracy, %", ["images", *lines],
                  [[case, *(estimate(mean(*place, [case])) for place in lines.values())]
                   for case in [CLEAN, *CORRUPTED]]),
            Table("Error, %, mean of all corruptions at level 2, by the images seen and the prior",
                  ["images seen", *(f"prior {prior}" for prior in PRIORS)],
                  [[str(n), *(few_error(few, prior, n) for prior in PRIORS)] for n in COUNTS]),
        ],
        [f"The learning rates are {rate(results, 'batch'):g} with and "
         f"{rate(results, 'none'):g} without batch normalization.",
         "The verdict is about the accuracy that the images' statistics bring for each kind of "
         "corruption, as the mean of its levels."],
        cases=gains,
        measure="points of accuracy that the images' statistics bring",
    )  # fmt: skip


def rate(results: Results, norm: str) -> float:
    found: float = results.best("lr", "validation", norm=norm)
    return found


def best(results: Results, norm: str) -> Results:
    """The measurements of one kind of network with its learning rate."""
    return results.where(norm=norm, lr=rate(results, norm))


def mean(results: Results, method: str, which: list[str]) -> Array:
    """The mean accuracy over some cases, in %, by seed."""
    found = np.array([results.values(f"{method}: {case}") for case in which])
    return np.asarray(100 * found.mean(axis=0))


def few_error(results: Results, prior: int, seen: int) -> Estimate:
    return estimate(100 - 100 * results.values(merged(prior, seen)))


STUDY = Study(
    "corruption",
    "New statistics of batch normalization repair a network whose images are corrupted.",
    "Schneider et al. (2020): a ResNet-50's mean corruption error on ImageNet-C falls from 76.7 % "
    "to 62.2 % with the statistics of the corrupted images. Wang et al. (2021) report with "
    "their code an error of 43.5 % on CIFAR-10-C, which falls to 20.4 % with the statistics of the "
    "corrupted images, and to 18.6 % with TENT.",
    "A CNN of two convolutions (16 and 32 channels, 3 × 3, ReLU, max pooling) and a linear layer "
    "learns 3,500 clean digits of MNIST in batches of 60 for 10 epochs, by SGD with a momentum of "
    "0.9 and a rate that falls along a cosine. The rate at the start, of "
    f"{', '.join(f'{r:g}' for r in RATES)}, is the one with the best accuracy on clean samples for "
    "validation; the network without batch normalization has its own. Then the 1,000 test images "
    "are made worse: by noise, blur, less contrast or more light, at three levels. A copy of the "
    "network sees these images without their labels, in batches of 100, and takes their statistics "
    "(`bn.adapt`), or trains weight and bias too until it is more certain (TENT, one pass). Few "
    "images are the first of them, which are merged with the statistics of the training; these "
    "stand for as many images as the prior says. Nothing of this is tuned: all priors and rates "
    "of TENT are shown, and accuracies are those on all 1,000 images.",
    settings,
    measure,
    conclude,
    minutes=15,
)
