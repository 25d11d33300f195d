"""Whether a network with batch normalization needs fewer epochs."""

from __future__ import annotations

from typing import Any

from bn import nn
from bn.module import Module
from bn.study import data, networks
from bn.study.conclusion import Cell, Chart, Conclusion, Table, by_epoch, judged
from bn.study.plan import Study, by_case
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import Estimate, difference, estimate
from bn.study.training import train

NORMS = {"batch": "with batch normalization", "none": "without"}
RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
TARGETS = (0.9, 0.95, 0.97)
# Each with its data, and the number of epochs.
CASES: dict[str, dict[str, Any]] = {
    "MLP, 8 × 8 digits": {"data": "digits", "network": "mlp", "epochs": 60},
    "MLP, MNIST": {"data": "mnist", "network": "mlp", "epochs": 40},
    "CNN, MNIST": {"data": "mnist", "network": "cnn", "epochs": 12},
}


def settings(quick: bool) -> list[Setting]:
    rates = RATES[2:4] if quick else RATES
    return by_case(CASES, shorter=3 if quick else 1, norm=list(NORMS), lr=rates)


def network(setting: Setting, samples: data.Data, seed: int) -> Module:
    if setting["network"] == "cnn":
        return networks.cnn(samples.shape, samples.classes, norm=setting["norm"], seed=seed)
    pixels = samples.x[0].size
    return networks.mlp(
        [pixels, 100, 100, 100, samples.classes],
        norm=setting["norm"],
        seed=seed,
        activation=nn.Sigmoid,
    )


def measure(setting: Setting, seed: int) -> Measured:
    samples = (data.digits if setting["data"] == "digits" else data.mnist)(seed)
    trained = train(
        network(setting, samples, seed),
        samples,
        lr=setting["lr"],
        epochs=setting["epochs"],
        batch_size=60,
        seed=seed,
        test_each_epoch=True,
    )
    limit = setting["epochs"]
    found: Measured = {"curve": trained.tests + [trained.chance] * (limit - len(trained.tests))}
    for target in TARGETS:
        found[f"validation to {target}"] = epochs_until(trained.validation, target, limit)
        found[f"test to {target}"] = epochs_until(trained.tests, target, limit)
    return found


def epochs_until(accuracies: list[float], target: float, limit: int) -> int:
    """The first epoch that reaches the target, or limit + 1 if none does.

    Examples
    --------
    >>> epochs_until([0.5, 0.8, 0.7], 0.8, 3), epochs_until([0.5], 0.8, 3)
    (2, 4)
    """
    return next((i for i, a in enumerate(accuracies, 1) if a >= target), limit + 1)


def conclude(results: Results) -> Conclusion:
    rows: list[list[Cell]] = []
    charts, gains = [], {}
    for case in CASES:
        chosen = results.where(case=case)
        limit = chosen.records[0].setting["epochs"]
        for target in TARGETS:
            rates = {n: best_rate(chosen, n, target) for n in NORMS}
            epochs = {n: chosen.values(f"test to {target}", norm=n, lr=rates[n]) for n in NORMS}
            gain = difference(epochs["none"], epochs["batch"])
            if min(values.max() for values in epochs.values()) <= limit:
                gains[f"{case}, to {100 * target:.0f} %"] = gain
            cells = [f"{told(estimate(epochs[n]), limit)} (rate {rates[n]:g})" for n in NORMS]
            rows.append([case, f"{100 * target:.0f} %", *cells, gain])
        # To a target that neither reaches, no rate is better than another.
        shown = max(
            (t for t in TARGETS if f"{case}, to {100 * t:.0f} %" in gains), default=TARGETS[0]
        )
        lines = [
            by_epoch(chosen.where(norm=n, lr=best_rate(chosen, n, shown)), name)
            for n, name in NORMS.items()
        ]
        title = f"{case}, at the rates that get to {100 * shown:.0f} % first"
        charts.append(Chart(title, "epoch", "test accuracy, %", lines))
    counts = "; ".join(f"{case}: {gain}" for case, gain in gains.items())
    return Conclusion(
        judged(gains.values()),
        f"Epochs that batch normalization saves: {counts}.",
        charts,
        [Table("Epochs until an accuracy on the test's samples is reached",
               ["network", "accuracy", *NORMS.values(), "epochs saved"], rows)],
        ["A network that does not get there counts with one epoch more than it was trained for. "
         "The verdict is about those accuracies that one of the twins reaches with every seed."],
        cases=gains,
        measure="epochs saved",
    )  # fmt: skip


def best_rate(results: Results, norm: str, target: float) -> float:
    """The learning rate that gets to the target first on the samples for validation."""
    rate: float = results.best("lr", f"validation to {target}", least=True, norm=norm)
    return rate


def told(epochs: Estimate, limit: int) -> str:
    return f"more than {limit}" if epochs.mean > limit else str(epochs)


STUDY = Study(
    "convergence",
    "A network with batch normalization needs fewer epochs.",
    "Ioffe and Szegedy (2015, figure 1) train a network of three hidden layers of 100 sigmoids on "
    "all 60,000 images of MNIST in batches of 60: with batch normalization it is more accurate "
    "from the first steps on.",
    "A perceptron of 3 × 100 sigmoids (weights drawn as PyTorch does), and a CNN of two "
    "convolutions (16 and 32 channels, 3 × 3, ReLU, max pooling) and a linear layer. They learn "
    "1,197 digits of 8 × 8 pixels or 3,500 of MNIST, in batches of 60, by SGD with a momentum of "
    f"0.9 and rates of {', '.join(f'{r:g}' for r in RATES)}; of these each network has the one "
    "with which it gets to an accuracy first on samples for validation.",
    settings,
    measure,
    conclude,
    minutes=12,
)
