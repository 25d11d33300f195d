"""Whether batch normalization is bad with small batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

from bn.module import Module
from bn.study import data, networks
from bn.study.conclusion import Cell, Chart, Conclusion, Line, Table, Verdict, judged
from bn.study.plan import Study, extended, grid
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import Estimate, difference, estimate
from bn.study.training import train
from bn.types import Array

BATCHES = (2, 4, 8, 16, 32, 128)
BORDER = 16  # of the claim: what is below it is small
GHOST = 16
# Each with the normalization of single samples that is compared, with all normalizations, with the
# learning rates for batches of 32, and with the power of the batch's size that these grow with, so
# that the best rates are within the grid of each batch size, not at its ends.
CASES: dict[str, dict[str, Any]] = {
    "CNN": {
        "twin": "group",
        "norms": ("batch", "group", "layer", "instance", "renorm", "ghost", "none"),
        "rates": (0.004, 0.016, 0.064, 0.256),
        "power": 0.75,
    },
    "MLP": {
        "twin": "layer",
        "norms": ("batch", "layer", "renorm", "none"),
        "rates": (0.004, 0.016, 0.064, 0.256, 1.024),
        "power": 1.0,
    },
}
NAMES = {
    "batch": "batch normalization",
    "group": "group normalization",
    "layer": "layer normalization",
    "instance": "instance normalization",
    "renorm": "batch renormalization",
    "ghost": f"ghost batches of {GHOST}",
    "none": "none",
}


def settings(quick: bool) -> list[Setting]:
    batches = (2, 32) if quick else BATCHES
    found: list[Setting] = []
    for case, values in CASES.items():
        rates = values["rates"][1:3] if quick else values["rates"]
        for norm, batch in product(values["norms"], batches):
            if norm != "ghost" or batch > GHOST:
                scale = (batch / 32) ** values["power"]
                found += grid(
                    case=[case], norm=[norm], batch=[batch], lr=[r * scale for r in rates]
                )
    size = {"samples": 200, "epochs": 3} if quick else {"samples": 800, "epochs": 5}
    return extended(found, **size)


def measure(setting: Setting, seed: int) -> Measured:
    samples = data.small_mnist(seed).few(setting["samples"])
    trained = train(
        network(setting, samples, seed),
        samples,
        lr=setting["lr"],
        epochs=setting["epochs"],
        batch_size=setting["batch"],
        seed=seed,
        cosine=True,
        validate=False,
    )
    found = trained.summary()
    if setting["norm"] == "batch":
        found["recalibrated"] = trained.recalibrated().test()
    return found


def network(setting: Setting, samples: data.Data, seed: int) -> Module:
    norm, shape, classes = setting["norm"], samples.shape, samples.classes
    if setting["case"] == "CNN":
        return networks.cnn(shape, classes, norm=norm, seed=seed, ghost=GHOST)
    return networks.mlp([math.prod(shape), 100, 100, classes], norm=norm, seed=seed)


def conclude(results: Results) -> Conclusion:
    found = {case: excess(results.where(case=case), case) for case in CASES}
    sentences = []
    for case, gains in found.items():
        each = "; ".join(f"batches of {batch}: {gain}" for batch, gain in gains.items())
        sentences.append(f"{case} (twin: {NAMES[CASES[case]['twin']]}): {each}.")
    return Conclusion(
        verdict(list(found.values())),
        "Percentage points that the test error of batch normalization is above its twin's. "
        + " ".join(sentences),
        [chart(results.where(case=case), case) for case in CASES],
        [table(results.where(case=case), case) for case in CASES] + [recalibration(results)],
        [f"The verdict is about batches below {BORDER}. If batch normalization is clearly worse "
         "with a larger batch too, the claim depends on more than the batch, even if it holds for "
         "all of these.",
         "All batch sizes see equally many samples, so that small batches take more steps, which "
         "is why a normalization is best compared with others at the same batch size."],
        cases={
            f"{case}, batches of {batch}": gain
            for case, gains in found.items()
            for batch, gain in gains.items()
            if batch < BORDER
        },
        measure="points of error more than its twin",
    )  # fmt: skip


def errors(results: Results, norm: str, batch: int, name: str = "test") -> Array:
    """The test errors in % by seed, with the rate that is best on samples for validation."""
    return 100 * (1 - results.tuned(name, norm=norm, batch=batch))


def excess(results: Results, case: str) -> dict[int, Estimate]:
    """By the batch's size, how much larger the error of batch normalization is than its twin's."""
    twin = CASES[case]["twin"]
    return {
        b: difference(errors(results, "batch", b), errors(results, twin, b))
        for b in results.axis("batch")
    }


def verdict(found: Sequence[dict[int, Estimate]]) -> Verdict:
    """Holds if it is worse with all small batches, and with no others."""
    small = [gain for gains in found for batch, gain in gains.items() if batch < BORDER]
    others = [gain for gains in found for batch, gain in gains.items() if batch >= BORDER]
    verdict = judged(small)
    if verdict == "holds" and any(gain.above_zero for gain in others):
        return "depends"
    return verdict


def batches_of(results: Results, norm: str) -> list[int]:
    return [int(batch) for batch in results.where(norm=norm).axis("batch")]


def chart(results: Results, case: str) -> Chart:
    lines = []
    for norm in CASES[case]["norms"]:
        batches = batches_of(results, norm)
        lines.append(
            Line(NAMES[norm], batches, [estimate(errors(results, norm, b)) for b in batches])
        )
    return Chart(case, "samples in a batch", "test error, %", lines, log_x=True)


def table(results: Results, case: str) -> Table:
    batches = batches_of(results, "batch")
    rows: list[list[Cell]] = []
    for norm in CASES[case]["norms"]:
        known = batches_of(results, norm)
        cells: list[Cell] = [
            estimate(errors(results, norm, b)) if b in known else "" for b in batches
        ]
        rows.append([NAMES[norm], *cells])
    return Table(
        f"{case}: test error in %, by the samples in a batch",
        ["normalization", *map(str, batches)],
        rows,
    )


def recalibration(results: Results) -> Table:
    """What of the error is due to noisy running statistics, and what to the training."""
    rows: list[list[Cell]] = []
    for case in CASES:
        for batch in batches_of(results, "batch"):
            chosen = results.where(case=case)
            running = errors(chosen, "batch", batch)
            exact = errors(chosen, "batch", batch, "recalibrated")
            cells = [estimate(running), estimate(exact), difference(running, exact)]
            rows.append([case, str(batch), *cells])
    return Table(
        "Batch normalization: test error in % with running statistics, and with those of all "
        "training samples at once (bn.recalibrate)",
        ["network", "batch", "running", "recalibrated", "points repaired"],
        rows,
    )


STUDY = Study(
    "batch-size",
    f"Batch normalization is bad with batches below {BORDER} samples.",
    "Wu and He (2018, table 2) train ResNet-50 on ImageNet with 32, 16, 8, 4 and 2 images on each "
    "GPU: the validation's error is 23.6, 23.7, 24.8, 27.3 and 34.7 % with batch normalization, "
    "and 24.0 to 24.2 % with group normalization. Masters and Luschi (2018) find the best results "
    "with batches of 2 to 32, with batch normalization too.",
    "800 images of MNIST, reduced to 14 × 14 pixels, are learned for 5 epochs, by SGD with a "
    "momentum of 0.9 and a rate that falls along a cosine; 3,700 others are the test. The CNN has "
    "two convolutions (16 and 32 channels, 3 × 3, ReLU, max pooling) and a linear layer: a batch "
    "of 2 gives its normalizations 392 and 98 values per channel. The MLP has two hidden layers of "
    "100 ReLUs, where a batch of 2 gives 2 values per channel. Each normalization has its own rate "
    "at each batch size b, the best one on 500 samples for validation: of "
    f"{', '.join(f'{r:g}' for r in CASES['CNN']['rates'])} times (b / 32)^0.75 in the CNN, and of "
    f"{', '.join(f'{r:g}' for r in CASES['MLP']['rates'])} times b / 32 in the MLP. Group "
    "normalization has 8 groups; running statistics have a momentum of 0.1; renormalization is "
    "clipped at r = 3 and d = 5 from the first step on, without its paper's slow start. The twin "
    "in the CNN is group normalization, as in Wu and He, and in the MLP it is layer normalization.",
    settings,
    measure,
    conclude,
    minutes=20,
)
