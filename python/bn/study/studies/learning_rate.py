"""Whether larger learning rates train with batch normalization."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bn.study import data, networks
from bn.study.conclusion import Cell, Chart, Conclusion, Line, Table, judged
from bn.study.plan import Study, by_case
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import difference, estimate, times
from bn.study.training import train
from bn.types import Array

NORMS = {"batch": "with batch normalization", "none": "without"}
RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
TRAINS = 0.9
HE = math.sqrt(2)
# Each with the number of epochs.
CASES: dict[str, dict[str, Any]] = {
    "MLP, 3 hidden layers": {"network": "mlp", "epochs": 20},
    "CNN, 4 convolutions": {"network": "cnn", "convolutions": 4, "epochs": 10},
    "CNN, 12 convolutions": {"network": "cnn", "convolutions": 12, "epochs": 10},
}


def settings(quick: bool) -> list[Setting]:
    rates = RATES[1::3] if quick else RATES
    return by_case(CASES, shorter=2 if quick else 1, norm=list(NORMS), lr=rates)


def measure(setting: Setting, seed: int) -> Measured:
    samples = data.digits(seed)
    model = networks.small(
        setting["network"], samples.shape, samples.classes, norm=setting["norm"], seed=seed,
        convolutions=setting.get("convolutions", 4),
    )  # fmt: skip
    return train(
        networks.draw_weights(model, HE, seed),
        samples,
        lr=setting["lr"],
        epochs=setting["epochs"],
        batch_size=60,
        seed=seed,
        validate=False,
    ).summary()


def conclude(results: Results) -> Conclusion:
    rows: list[list[Cell]] = []
    charts, gains, better = [], {}, {}
    for case in results.axis("case"):
        chosen = results.where(case=case)
        rates = chosen.axis("lr")
        largest = {norm: largest_rates(chosen.where(norm=norm)) for norm in NORMS}
        best = {norm: chosen.best("lr", "validation", norm=norm) for norm in NORMS}
        tests = {norm: 100 * chosen.values("test", norm=norm, lr=best[norm]) for norm in NORMS}
        gains[case] = difference(largest["batch"], largest["none"])
        better[case] = difference(tests["batch"], tests["none"])
        rows += [
            [case, name, times(estimate(largest[n])), f"{best[n]:g}", estimate(tests[n])]
            for n, name in NORMS.items()
        ]
        lines = [
            Line(name, rates, [chosen.estimate("test", 100, norm=n, lr=lr) for lr in rates])
            for n, name in NORMS.items()
        ]
        charts.append(
            Chart(case, "learning rate", "test accuracy, %", lines, log_x=True, level=100 * TRAINS)
        )
    factors = "; ".join(f"{case}: {times(gain)}" for case, gain in gains.items())
    points = "; ".join(f"{case}: {gain}" for case, gain in better.items())
    return Conclusion(
        judged(gains.values()),
        "The largest rate that trains with batch normalization, divided by the largest one without "
        f"it: {factors}. Percentage points of test accuracy that batch normalization gains at the "
        f"best rates: {points}.",
        charts,
        [Table("The largest rate that trains, and the accuracy at the best rate",
               ["network", "", "largest rate (95 % interval)", "best rate", "accuracy, %"], rows)],
        [f"A rate trains if the accuracy on the test's samples is at least {100 * TRAINS:.0f} % at "
         "the end (the broken line), which was decided beforehand. The means of largest rates are "
         "geometric. Rates are tried in steps of 2 to 2.5 times, so that no quotient is more exact "
         "than that. A network that no rate trains counts with half of the smallest."],
        cases=gains,
        measure="quotient of the largest rates",
        logarithms=True,
    )  # fmt: skip


def largest_rates(results: Results) -> Array:
    """The logarithm to base 10 of the largest rate that trains, by seed."""
    rates = results.axis("lr")
    trains = np.array([results.values("test", lr=lr) >= TRAINS for lr in rates])
    found = [max(np.array(rates)[column], default=min(rates) / 2) for column in trains.T]
    return np.asarray(np.log10(found))


STUDY = Study(
    "learning-rate",
    "The largest learning rate that still trains is larger with batch normalization.",
    "Bjorck and others (2018, figure 1) train a ResNet of 110 layers on CIFAR-10. They have to "
    "take a rate of 0.0001 for it to train without batch normalization; with it 0.1 trains too, "
    "and ends at the better accuracy. That is a factor of 1000, in a network of 110 layers.",
    "A perceptron of 3 × 100 ReLUs for 20 epochs, and CNNs of 4 and of 12 convolutions (16 "
    "channels, 3 × 3, ReLU, max pooling after each half of them) and a linear layer for 10 epochs. "
    "They learn 1,197 digits of 8 × 8 pixels in batches of 60, by SGD with a momentum of 0.9 and a "
    f"constant rate from {RATES[0]:g} to {RATES[-1]:g}. The weights are drawn as He and others "
    "(2015) propose for ReLUs, because deep networks without normalization need that; twins have "
    "the same weights. The best rate is chosen on samples for validation.",
    settings,
    measure,
    conclude,
    minutes=8,
)
