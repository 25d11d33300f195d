"""Whether batch normalization makes dropout needless."""

from __future__ import annotations

from typing import Any

from bn import nn
from bn.study import data, networks
from bn.study.conclusion import Cell, Chart, Conclusion, Line, Table, judged
from bn.study.plan import Study, grid
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import Estimate, difference, estimate
from bn.study.training import train_as
from bn.types import Array

# Each with its name, its normalization, and whether it has dropout.
ARMS: dict[str, tuple[str, str, bool]] = {
    "none": ("neither", "none", False),
    "bn": ("batch normalization", "batch", False),
    "dropout": ("dropout", "none", True),
    "both": ("both", "batch", True),
}
# The arms without a probability to choose have twice as many rates, so that all have ten tries.
RATES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56)
DROPOUT_RATES = RATES[::2]
PROBABILITIES = (0.2, 0.5)
EPOCHS = {200: 60, 500: 40, 1000: 30, 2000: 20}  # by the number of samples
MARGIN = 0.5  # percentage points of test error that count as no cost


def settings(quick: bool) -> list[Setting]:
    sizes = (200, 1000) if quick else tuple(EPOCHS)
    rates, dropout_rates = (RATES[3:5], RATES[4:5]) if quick else (RATES, DROPOUT_RATES)
    found: list[Setting] = []
    for samples in sizes:
        values = {
            "epochs": EPOCHS[samples] // 2 if quick else EPOCHS[samples],
            "batch_size": 50,
            "hidden": [200, 200],
        }
        for arm, (_, norm, dropped) in ARMS.items():
            tries = (
                grid(dropout=PROBABILITIES, lr=dropout_rates)
                if dropped
                else grid(dropout=[0.0], lr=rates)
            )
            found += [
                {"samples": samples, "arm": arm, "norm": norm, "tuning": told(one), **one, **values}
                for one in tries
            ]
    return found


def told(tried: dict[str, Any]) -> str:
    """What is tuned, in words.

    Examples
    --------
    >>> told({"dropout": 0.5, "lr": 0.04}), told({"dropout": 0.0, "lr": 0.04})
    ('rate 0.04, p 0.5', 'rate 0.04')
    """
    rate = f"rate {tried['lr']:g}"
    return f"{rate}, p {tried['dropout']:g}" if tried["dropout"] else rate


def measure(setting: Setting, seed: int) -> Measured:
    samples = data.small_mnist(seed).first(setting["samples"])
    model = networks.mlp(
        [samples.x[0].size, *setting["hidden"], samples.classes],
        norm=setting["norm"],
        seed=seed,
        dropout=setting["dropout"],
    )
    trained = train_as(setting, model, samples, seed, cosine=True, validate=False)
    learned = trained.chance
    if not trained.diverged:
        learned = nn.evaluate(model, samples.x, samples.y)["accuracy"]
    return {**trained.summary(), "training": learned}


def conclude(results: Results) -> Conclusion:
    by_size = {size: results.where(samples=size) for size in results.axis("samples")}
    gains = {size: weaker(found) for size, found in by_size.items()}
    names = [name for name, _, _ in ARMS.values()]
    tested: list[list[Cell]] = [
        [str(size), *(told_error(found, arm) for arm in ARMS)] for size, found in by_size.items()
    ]
    saved: list[list[Cell]] = [
        [str(size), *savings(found), cost_of_sparing(found)] for size, found in by_size.items()
    ]
    trained: list[list[Cell]] = [
        [str(size), *(learned(found, arm) for arm in ARMS)] for size, found in by_size.items()
    ]
    return Conclusion(
        judged(gains.values()),
        sentence(by_size),
        [error_chart(by_size)],
        [
            Table("Test error, %, each with what was chosen for it", ["samples", *names], tested),
            Table("How many percentage points of test error are saved",
                  ["samples", "by batch normalization alone", "by dropout alone",
                   "by dropout beside batch normalization",
                   "by the better network with dropout, over batch normalization"], saved),
            Table("Accuracy on the samples of the training, %", ["samples", *names], trained),
        ],
        ["The claim holds with a number of samples if batch normalization alone saves errors, and "
         f"the better network with dropout saves less than {MARGIN:g} percentage points over that, "
         "both with the whole interval. The better of the two networks with dropout is the one "
         "with fewer errors on the samples for validation.",
         "The verdict is about the weaker of the two parts: what batch normalization alone saves, "
         f"or how far the saving by dropout stays below {MARGIN:g} points."],
        cases={f"{size} samples": gain for size, gain in gains.items()},
        measure="points by which the weaker part of the claim holds",
    )  # fmt: skip


def error_chart(by_size: dict[int, Results]) -> Chart:
    lines = [
        Line(name, list(by_size), [estimate(errors(found, arm)) for found in by_size.values()])
        for arm, (name, _, _) in ARMS.items()
    ]
    title = "Test error by the number of samples"
    return Chart(title, "samples for training", "test error, %", lines, log_x=True)


def sentence(by_size: dict[int, Results]) -> str:
    """What batch normalization and dropout bring at each size."""
    alone = "; ".join(f"{size} samples: {savings(one)[0]}" for size, one in by_size.items())
    more = "; ".join(f"{size} samples: {cost_of_sparing(one)}" for size, one in by_size.items())
    return (
        f"Percentage points of test error that batch normalization alone saves: {alone}. What the "
        f"better network with dropout saves beyond that: {more}; less than {MARGIN:g} counts as "
        "nothing."
    )


def weaker(results: Results) -> Estimate:
    """The part of the claim that is refuted, or else the one that is less certain to be above 0.

    The parts are what batch normalization alone saves, and how far the cost of sparing dropout is
    below the margin.
    """
    cost = cost_of_sparing(results)
    below = Estimate(MARGIN - cost.mean, cost.half, cost.n)
    return min(savings(results)[0], below, key=lambda part: (not part.below_zero, part.low))


def best(results: Results, arm: str) -> str:
    """What of the tuned was best on the samples for validation."""
    chosen: str = results.best("tuning", "validation", arm=arm)
    return chosen


def errors(results: Results, arm: str) -> Array:
    """The test errors of the tuned network, by seed, in percent."""
    return 100 - 100 * results.tuned("test", over="tuning", arm=arm)


def told_error(results: Results, arm: str) -> str:
    return f"{estimate(errors(results, arm))} ({best(results, arm)})"


def learned(results: Results, arm: str) -> Estimate:
    return estimate(100 * results.tuned("training", over="tuning", arm=arm))


def savings(results: Results) -> list[Estimate]:
    """Of batch normalization, of dropout, and of dropout beside batch normalization."""
    pairs = [("none", "bn"), ("none", "dropout"), ("bn", "both")]
    return [difference(errors(results, a), errors(results, b)) for a, b in pairs]


def cost_of_sparing(results: Results) -> Estimate:
    """How much worse batch normalization alone is than the better network with dropout."""
    validation = {
        arm: results.tuned("validation", over="tuning", arm=arm).mean()
        for arm in ("dropout", "both")
    }
    better = max(validation, key=lambda arm: validation[arm])
    return difference(errors(results, "bn"), errors(results, better))


STUDY = Study(
    "regularisation",
    "Batch normalization regularises, so that dropout can be left out.",
    "Ioffe and Szegedy (2015, section 4.2) leave dropout out of their Inception network with batch "
    "normalization, and find no more overfitting. Luo et al. (2019) explain how the batches' "
    "statistics regularise. In the CaffeNet benchmark of Mishkin et al. "
    "(images of ImageNet at 128 pixels) a network with batch normalization reaches 51.3 % without "
    "dropout, 52.7 % with a probability of 0.2, and 49.9 % with 0.5.",
    "A perceptron of 2 × 200 ReLUs learns 200 to 2,000 digits of MNIST, reduced to 14 × 14 pixels, "
    "in batches of 50, by SGD with a momentum of 0.9 and a rate that falls to 0 along a cosine, "
    f"for {', '.join(map(str, EPOCHS.values()))} epochs. Normalization stands before each ReLU, "
    "dropout behind it. Each network has ten tries at each number of samples, of which it has "
    f"the best on 500 samples for validation: those without dropout have the rates "
    f"{', '.join(f'{r:g}' for r in RATES)}; those with dropout every second of these, each with "
    f"the probabilities {' and '.join(f'{p:g}' for p in PROBABILITIES)}.",
    settings,
    measure,
    conclude,
    minutes=14,
)
