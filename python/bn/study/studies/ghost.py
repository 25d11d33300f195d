"""Whether ghost batches close the gap between small and large batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bn.module import Module
from bn.study import data, networks
from bn.study.conclusion import Cell, Chart, Conclusion, Line, Table, Verdict
from bn.study.plan import Study, extended, grid
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import Estimate, difference, estimate
from bn.study.training import train
from bn.types import Array

SMALL = 32
CASES = {"MLP": (0.01, 0.04, 0.16, 0.64, 2.56), "CNN": (0.01, 0.04, 0.16, 0.64)}  # and rates
ARMS: dict[str, dict[str, Any]] = {
    "small": {"norm": "batch", "large": False},
    "large": {"norm": "batch", "large": True},
    "ghost": {"norm": "ghost", "large": True},
}
BUDGETS = ("equal epochs", "equal steps")  # of large batches, beside the small ones


def settings(quick: bool) -> list[Setting]:
    size = {"samples": 512, "epochs": 2} if quick else {"samples": 2560, "epochs": 5}
    times = 4 if quick else 16  # as many samples in a large batch
    found: list[Setting] = []
    for arm, values in ARMS.items():
        for budget in BUDGETS if values["large"] else BUDGETS[:1]:
            epochs = size["epochs"] * (times if budget == "equal steps" else 1)
            batch = SMALL * times if values["large"] else SMALL
            for case, all_rates in CASES.items():
                rates = all_rates[1:3] if quick else all_rates
                found += extended(
                    grid(case=[case], arm=[arm], budget=[budget], lr=rates),
                    norm=values["norm"], batch=batch, samples=size["samples"], epochs=epochs,
                )  # fmt: skip
    return found


def measure(setting: Setting, seed: int) -> Measured:
    whole = data.mnist(seed) if setting["case"] == "MLP" else data.small_mnist(seed)
    samples = whole.few(setting["samples"])
    return train(
        network(setting, samples, seed),
        samples,
        lr=setting["lr"],
        epochs=setting["epochs"],
        batch_size=setting["batch"],
        seed=seed,
        cosine=True,
        validate=False,
    ).summary()


def network(setting: Setting, samples: data.Data, seed: int) -> Module:
    norm, shape, classes = setting["norm"], samples.shape, samples.classes
    if setting["case"] == "CNN":
        return networks.cnn(shape, classes, norm=norm, seed=seed, ghost=SMALL)
    sizes = [math.prod(shape), 100, 100, 100, classes]
    return networks.mlp(sizes, norm=norm, seed=seed, ghost=SMALL)


@dataclass(frozen=True)
class Found:
    """Test accuracies in % by seed, and what large batches lack, ghosts bring, and leave open."""

    case: str
    budget: str
    small: Array
    large: Array
    ghost: Array

    @property
    def gap(self) -> Estimate:
        return difference(self.small, self.large)

    @property
    def gain(self) -> Estimate:
        return difference(self.ghost, self.large)

    @property
    def rest(self) -> Estimate:
        return difference(self.small, self.ghost)


def conclude(results: Results) -> Conclusion:
    all_found = [find(results, case, budget) for case in CASES for budget in BUDGETS]
    sentence = "; ".join(
        f"{f.case}, {f.budget}: it lacks {f.gap}, ghosts bring {f.gain} and leave {f.rest}"
        for f in all_found
    )
    return Conclusion(
        verdict(all_found),
        "Points of test accuracy that the large batch lacks beside the small one, how many of them "
        f"ghosts bring, and how many they leave. {sentence}.",
        [chart(results, [f for f in all_found if f.case == case]) for case in CASES],
        [table(results, all_found)],
        ["The verdict is about those cases in which the interval of the gap is above 0. The claim "
         "holds if ghosts gain in all of these and leave no clear gap; it depends if they gain in "
         "some, or in all but leave a gap; it does not hold if they gain in none and leave a clear "
         "gap. Without any gap the result is within noise."],
        cases={f"{f.case}, {f.budget}": f.gain for f in all_found if f.gap.above_zero},
        measure="points of accuracy that ghosts bring where there is a gap",
    )  # fmt: skip


def find(results: Results, case: str, budget: str) -> Found:
    chosen = results.where(case=case)
    small = accuracies(chosen.where(arm="small"))
    same = chosen.where(budget=budget)
    large, ghost = (accuracies(same.where(arm=arm)) for arm in ("large", "ghost"))
    return Found(case, budget, small, large, ghost)


def accuracies(results: Results) -> Array:
    """In %, by seed, with the rate that is best on samples for validation."""
    return 100 * results.tuned("test")


def verdict(found: Sequence[Found]) -> Verdict:
    with_gap = [f for f in found if f.gap.above_zero]
    if not with_gap:
        return "within noise"
    gained = [f.gain.above_zero for f in with_gap]
    left = [f.rest.above_zero for f in with_gap]
    if all(gained) and not any(left):
        return "holds"
    if any(gained):
        return "depends"
    return "does not hold" if any(left) else "within noise"


def names(results: Results) -> dict[str, str]:
    """What the arms are called."""
    large = max(results.axis("batch"))
    return {
        "small": f"batches of {SMALL}",
        "large": f"batches of {large}",
        "ghost": f"{large} in ghosts of {SMALL}",
    }


def chart(results: Results, found: Sequence[Found]) -> Chart:
    budgets = [f.budget for f in found]
    lines = [
        Line(name, budgets, [estimate(getattr(f, arm)) for f in found])
        for arm, name in names(results).items()
    ]
    return Chart(found[0].case, "training of the large batches", "test accuracy, %", lines)


def table(results: Results, found: Sequence[Found]) -> Table:
    rows: list[list[Cell]] = []
    for f in found:
        reached = [estimate(values) for values in (f.small, f.large, f.ghost)]
        rows.append([f.case, f.budget, *reached, f.gap, f.gain, f.rest])
    return Table(
        "Test accuracy in %, and differences in points",
        ["network", "training", *names(results).values(), "lacking", "gained", "left"],
        rows,
    )


STUDY = Study(
    "ghost",
    "Ghost batches close the gap between small and large batches.",
    "Hoffer, Hubara and Soudry (2017, table 1) train a perceptron on MNIST (F1): its accuracy is "
    "98.27 % with small batches, 97.05 % with large ones of 4,096, and 97.60 % with these in ghost "
    "batches and a learning rate that fits them. They close the rest of the gap with more steps.",
    "2,560 images of MNIST are learned in batches of 32, and in batches of 512 with and without "
    "ghost batches of 32; 1,940 others are the test. The MLP has three hidden layers of 100 ReLUs "
    "and sees 28 × 28 pixels; the CNN sees 14 × 14 and has two convolutions (16 and 32 channels, "
    "3 × 3, ReLU, max pooling) and a linear layer. SGD has a momentum of 0.9 and a rate that falls "
    "along a cosine. Small batches learn for 5 epochs (400 steps), large ones for 5 epochs (25 "
    "steps) or for as many steps (80 epochs). Each arm has its own rate, the best of "
    + " or ".join(f"{', '.join(f'{r:g}' for r in rates)} ({c})" for c, rates in CASES.items())
    + ", on 500 samples for validation.",
    settings,
    measure,
    conclude,
    minutes=12,
)
