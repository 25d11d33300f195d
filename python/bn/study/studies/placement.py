"""Whether batch normalization belongs before the activation, or behind it."""

from __future__ import annotations

from typing import Any

from bn import nn
from bn.module import Module
from bn.study import data, networks
from bn.study.conclusion import Cell, Chart, Conclusion, Line, Table, judged
from bn.study.plan import Study, extended, grid
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import Estimate, difference, estimate
from bn.study.training import train_as
from bn.types import Array

PLACES = {
    "before": "before the activation",
    "after": "behind the activation",
    "none": "no normalization",
}
RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
CASES: dict[str, dict[str, str]] = {
    "MLP, ReLU": {"network": "mlp", "activation": "relu"},
    "MLP, sigmoid": {"network": "mlp", "activation": "sigmoid"},
    "CNN, ReLU": {"network": "cnn", "activation": "relu"},
}


def settings(quick: bool) -> list[Setting]:
    samples, epochs, rates = (1000, 5, RATES[3:5]) if quick else (3500, 12, RATES)
    return [
        {**setting, **CASES[setting["case"]]}
        for setting in extended(
            grid(case=list(CASES), place=list(PLACES), lr=rates),
            samples=samples, epochs=epochs, batch_size=60,
        )
    ]  # fmt: skip


def network(setting: Setting, samples: data.Data, seed: int) -> Module:
    options: dict[str, Any] = {
        "norm": "none" if setting["place"] == "none" else "batch",
        "seed": seed,
        "after_activation": setting["place"] == "after",
    }
    if setting["network"] == "cnn":
        return networks.cnn(samples.shape, samples.classes, **options)
    sizes = [samples.x[0].size, 100, 100, 100, samples.classes]
    activation = nn.Sigmoid if setting["activation"] == "sigmoid" else nn.ReLU
    return networks.mlp(sizes, activation=activation, **options)


def measure(setting: Setting, seed: int) -> Measured:
    samples = data.small_mnist(seed).first(setting["samples"])
    return train_as(
        setting, network(setting, samples, seed), samples, seed, cosine=True, validate=False
    ).summary()


def conclude(results: Results) -> Conclusion:
    by_case = {case: results.where(case=case) for case in CASES}
    gains = {
        case: difference(accuracies(found, "before"), accuracies(found, "after"))
        for case, found in by_case.items()
    }
    rows: list[list[Cell]] = [
        [case, *(told(found, place) for place in PLACES), gains[case], *gains_over_none(found)]
        for case, found in by_case.items()
    ]
    lines = [
        Line(name, list(CASES), [estimate(100 - accuracies(f, place)) for f in by_case.values()])
        for place, name in PLACES.items()
    ]
    numbers = "; ".join(f"{case}: {gain}" for case, gain in gains.items())
    return Conclusion(
        judged(gains.values()),
        "Percentage points of test accuracy that normalization before the activation has more than "
        f"normalization behind it: {numbers}.",
        [
            Chart("Test error by the place of batch normalization", "network", "test error, %",
                  lines),
            rates_chart("MLP, ReLU", by_case["MLP, ReLU"]),
            rates_chart("CNN, ReLU", by_case["CNN, ReLU"]),
        ],
        [Table("Test accuracy, %, each with the rate that was chosen for it",
               ["network", *PLACES.values(), "before − behind", "before − none", "behind − none"],
               rows)],
        ["The charts over the rates show samples of the test too, at rates that were not chosen."],
        cases=gains,
        measure="points of accuracy, before the activation minus behind",
    )  # fmt: skip


def rate(results: Results, place: str) -> float:
    """The learning rate that is best on the samples for validation."""
    chosen: float = results.best("lr", "validation", place=place)
    return chosen


def accuracies(results: Results, place: str) -> Array:
    """The test accuracies at the chosen rate, by seed, in percent."""
    return 100 * results.tuned("test", place=place)


def told(results: Results, place: str) -> str:
    return f"{estimate(accuracies(results, place))} (rate {rate(results, place):g})"


def gains_over_none(results: Results) -> list[Estimate]:
    none = accuracies(results, "none")
    return [difference(accuracies(results, place), none) for place in ("before", "after")]


def rates_chart(case: str, results: Results) -> Chart:
    """The test error of all rates, from which one sees how much the rate matters."""
    rates = results.axis("lr")
    lines = [
        Line(
            name,
            rates,
            [estimate(100 - 100 * results.values("test", place=place, lr=lr)) for lr in rates],
        )
        for place, name in PLACES.items()
    ]
    return Chart(
        f"{case}: all learning rates",
        "learning rate",
        "test error, %",
        lines,
        log_x=True,
        log_y=True,
    )


STUDY = Study(
    "placement",
    "Batch normalization is best before the activation.",
    "Ioffe and Szegedy (2015, section 3.2) place it before the activation, because what a linear "
    "layer gives is closer to a normal distribution; they do not measure the other place. In the "
    "CaffeNet benchmark of Mishkin et al. (images of ImageNet at 128 pixels, with weight and bias) "
    "a network has an accuracy of 47.1 % without normalization, 47.8 % with it before each ReLU, "
    "and 49.3 % with it behind.",
    "A perceptron of 3 × 100 ReLUs or sigmoids, and a CNN of two convolutions (16 and 32 channels, "
    "3 × 3, ReLU, max pooling) and a linear layer, with normalization before each activation, "
    "directly behind it, or nowhere. They learn 3,500 digits of MNIST, reduced to 14 × 14 pixels, "
    "for 12 epochs in batches of 60, by SGD with a momentum of 0.9 and a rate that falls to 0 "
    f"along a cosine, from {', '.join(f'{r:g}' for r in RATES)}; each has the one that is best on "
    "500 samples for validation.",
    settings,
    measure,
    conclude,
    minutes=12,
)
