"""Whether a network with batch normalization trains from more initial weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bn.study import data, networks
from bn.study.conclusion import Cell, Chart, Conclusion, Line, Table, judged
from bn.study.plan import Study, by_case
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import difference, estimate
from bn.study.training import train
from bn.types import Array

NORMS = {"batch": "with batch normalization", "none": "without"}
TUNINGS = {"each": "a rate for each scale", "one": "one rate"}
RATES = (0.000001, 0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0)
PER_DECADE = 2
SCALES = tuple(float(f"{10 ** (i / PER_DECADE):.2g}") for i in range(-10, 4))
POINTS, TRAINS = 0.02, 0.9
HE = math.sqrt(2)
CASES: dict[str, dict[str, Any]] = {
    "MLP, 3 hidden layers": {"network": "mlp", "epochs": 10},
    "CNN, 4 convolutions": {"network": "cnn", "epochs": 6},
}


def settings(quick: bool) -> list[Setting]:
    scales = SCALES[1::3] if quick else SCALES
    rates = RATES[3:6] if quick else RATES
    return by_case(CASES, shorter=2 if quick else 1, norm=list(NORMS), scale=scales, lr=rates)


def measure(setting: Setting, seed: int) -> Measured:
    samples = data.digits(seed)
    model = networks.small(
        setting["network"], samples.shape, samples.classes, norm=setting["norm"], seed=seed
    )
    return train(
        networks.draw_weights(model, setting["scale"] * HE, seed),
        samples,
        lr=setting["lr"],
        epochs=setting["epochs"],
        batch_size=60,
        seed=seed,
        validate=False,
    ).summary()


def conclude(results: Results) -> Conclusion:
    rows: list[list[Cell]] = []
    charts, gains, told = [], {}, []
    for case in results.axis("case"):
        lines = []
        for tuning, words in TUNINGS.items():
            curves = {n: tested(results.where(case=case, norm=n), tuning) for n in NORMS}
            wide = {norm: decades(curve) for norm, curve in curves.items()}
            gain = difference(wide["batch"], wide["none"])
            gains[case, tuning] = gain
            shown = {norm: estimate(values) for norm, values in wide.items()}
            high = [estimate(decades(curve, above=1.0)) for curve in curves.values()]
            rows.append([case, words, *shown.values(), gain, *high])
            told.append(f"{case}, {words}: {shown['batch']} instead of {shown['none']}")
            lines += [
                Line(f"{name}, {words}", [*curve], [estimate(100 * v) for v in curve.values()])
                for name, curve in zip(NORMS.values(), curves.values(), strict=True)
            ]
        charts.append(
            Chart(case, "scale of the initial weights (1: He)", "test accuracy, %", lines,
                  log_x=True)
        )  # fmt: skip
    return Conclusion(
        judged(gains.values()),
        "Scales of the initial weights over which the accuracy stays within "
        f"{100 * POINTS:.0f} points of its best, in decades (factors of 10), with batch "
        f"normalization instead of without: {'; '.join(told)}.",
        charts,
        [Table(f"Decades of scales at which the accuracy is within {100 * POINTS:.0f} points of "
               "the best; the last columns count only scales above 1",
               ["network", "tuning", *NORMS.values(), "difference", "with it, above 1",
                "without, above 1"], rows)],
        [f"Scales from {min(results.axis('scale')):g} to {max(results.axis('scale')):g} were tried "
         f"in steps of {1 / PER_DECADE:g} decades, and each counts for one such step if the "
         f"accuracy there is at most {100 * POINTS:.0f} points below that of the same network at "
         f"its best scale, and {100 * TRAINS:.0f} % or more. Both limits were set beforehand.",
         "One rate is the best one at a scale of 1, kept for all scales.",
         "Below a scale of about 0.002 the variances are smaller than the eps of 1e-5 added to "
         "them, so that batch normalization no longer undoes the scale."],
        cases={f"{case}, {TUNINGS[tuning]}": gain for (case, tuning), gain in gains.items()},
        measure="decades (factors of 10) of scales gained",
    )  # fmt: skip


def tested(results: Results, tuning: str) -> dict[float, Array]:
    """By scale, the accuracies on the test's samples, at rates that validation chose."""
    scales = results.axis("scale")
    usual = min(scales, key=lambda scale: abs(math.log(scale)))
    return {
        scale: results.values(
            "test",
            scale=scale,
            lr=results.best("lr", "validation", scale=scale if tuning == "each" else usual),
        )
        for scale in scales
    }


def decades(curve: dict[float, Array], above: float = 0.0) -> list[float]:
    """How many decades of scales above a limit have an accuracy close to the best, by seed.

    Examples
    --------
    >>> decades({0.1: [0.3, 0.97], 1.0: [0.95, 0.98], 10.0: [0.96, 0.5]})
    [1.0, 1.0]
    """
    seeds = zip(*curve.values(), strict=True)
    # 0.955 is exactly as far from 0.975 as is allowed, but for rounding.
    needed = [max(*values, TRAINS + POINTS) - POINTS - 1e-9 for values in seeds]
    close = np.array(
        [values >= np.array(needed) for scale, values in curve.items() if scale > above]
    )
    return [float(count) for count in close.sum(axis=0) / PER_DECADE]


STUDY = Study(
    "initialisation",
    "Batch normalization makes the training depend less on the initial weights.",
    "Ioffe and Szegedy (2015) claim this from the fact that a layer with batch normalization "
    "computes the same whatever its weights are multiplied by (section 3.3); they show no "
    "measurement of it.",
    "A perceptron of 3 × 100 ReLUs for 10 epochs, and a CNN of four convolutions (16 channels, "
    "3 × 3, ReLU, max pooling after each second one) and a linear layer for 6 epochs. They learn "
    "1,197 digits of 8 × 8 pixels in batches of 60, by SGD with a momentum of 0.9. All weights are "
    "drawn as He and others (2015) propose and multiplied by a scale; twins have the same weights. "
    f"The rates are {', '.join(f'{r:g}' for r in RATES)}, and validation chooses one for each "
    "network and scale.",
    settings,
    measure,
    conclude,
    minutes=12,
)
