"""Whether a network learns if nothing but weight and bias of its batch normalization train."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bn import nn
from bn.layers.batch_norm import batch_norms
from bn.module import Module
from bn.parameter import Parameter
from bn.study import data
from bn.study.conclusion import Cell, Chart, Conclusion, Line, Table, judged
from bn.study.plan import Study, extended, grid
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import difference, estimate
from bn.study.training import train_as
from bn.types import Array

PARTS = {
    "all": "all",
    "norm": "batch normalization",
    "random": "random weights",
    "norm, head": "batch normalization, last layer",
    "random, head": "random weights, last layer",
    "head": "last layer",
}
CHART_NAMES = {
    "all": "all",
    "norm": "norm",
    "random": "random",
    "norm, head": "norm, last",
    "random, head": "random, last",
    "head": "last layer",
}
MAIN = list(PARTS)[:3]
NETWORKS = {1: "ResNet-8", 2: "ResNet-14"}  # by the blocks in each stage
RATES = (0.04, 0.2, 1.0, 5.0, 25.0)
PER_CHANNEL = 2  # weights of a convolution that train, as many as weight and bias have

Masks = dict[Parameter, Array | None]


class MaskedSGD(nn.SGD):
    """SGD of the values where a mask is 1; None stands for all values of a parameter."""

    def __init__(self, masks: Mapping[Parameter, Array | None], lr: float) -> None:
        super().__init__(list(masks), lr, momentum=0.9)
        self.masks = masks

    def step(self) -> None:
        for parameter, mask in self.masks.items():
            if mask is not None and parameter.grad is not None:
                parameter.grad *= mask
        super().step()


def settings(quick: bool) -> list[Setting]:
    """The smaller network with all parts, and another one with the main ones."""
    rates = RATES[1:3] if quick else RATES
    small, large = NETWORKS
    found = grid(blocks=[small], part=list(PARTS), lr=rates)
    if not quick:
        found += grid(blocks=[large], part=MAIN, lr=rates)
    return extended(found, data="digits", epochs=6 if quick else 20, batch_size=60)


def measure(setting: Setting, seed: int) -> Measured:
    samples = data.digits(seed)
    model = nn.models.CifarResNet(setting["blocks"], samples.classes, 1, rng=seed)
    masks = chosen(model, model.fc, setting["part"], seed)
    for parameter in model.parameters():
        parameter.trainable = parameter in masks
    trained = train_as(
        setting,
        model,
        samples,
        seed,
        optimizer=MaskedSGD(masks, setting["lr"]),
        cosine=True,
        validate=False,
    )
    numbers = sum(p.size if mask is None else int(mask.sum()) for p, mask in masks.items())
    return {**trained.summary(), "numbers": numbers}


def chosen(model: Module, head: Module, part: str, seed: int) -> Masks:
    """The parameters that train, each with its mask."""
    if part == "all":
        return dict.fromkeys(model.parameters())
    rng = np.random.default_rng(seed)
    found: Masks = {}
    if "norm" in part:
        layers = [layer for _, layer in batch_norms(model)]
        found |= {p: None for layer in layers for p in layer.parameters()}
    if "random" in part:
        convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
        found |= {layer.weight: random_mask(layer.weight.shape, rng) for layer in convolutions}
    if "head" in part:
        found |= dict.fromkeys(head.parameters())
    return found


def random_mask(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """1 for two weights of each output channel, 0 elsewhere.

    Examples
    --------
    >>> random_mask((5, 4, 3, 3), np.random.default_rng(0)).sum(axis=(1, 2, 3))
    array([2., 2., 2., 2., 2.], dtype=float32)
    """
    mask = np.zeros((shape[0], int(np.prod(shape[1:]))), np.float32)
    for row in mask:
        row[rng.choice(row.size, PER_CHANNEL, replace=False)] = 1
    return mask.reshape(shape)


def conclude(results: Results) -> Conclusion:
    parts = {b: results.where(blocks=b).axis("part") for b in results.axis("blocks")}
    found = {(b, part): accuracy(results, b, part) for b in parts for part in parts[b]}
    gains = {b: difference(found[b, "norm"], found[b, "random"]) for b in parts}
    told = "; ".join(
        f"{NETWORKS[b]}: {estimate(found[b, 'norm'])} %, where as many random weights reach "
        f"{estimate(found[b, 'random'])} % (difference {gains[b]}), and all parameters "
        f"{estimate(found[b, 'all'])} %"
        for b in parts
    )
    lines = [
        Line(NETWORKS[b], [CHART_NAMES[part] for part in parts[b]],
             [estimate(found[b, part]) for part in parts[b]])
        for b in parts
    ]  # fmt: skip
    return Conclusion(
        judged(gains.values()),
        f"Test accuracy if nothing but weight and bias of batch normalization trains: {told}.",
        [Chart("What trains", "", "test accuracy, %", lines)],
        [Table("Test accuracy, %, by what trains",
               ["network", "what trains", "numbers that train", "learning rate", "test accuracy"],
               [row(results, *place) for place in found])],
        ["The verdict is about weight and bias of batch normalization against as many random "
         "weights of the convolutions; guessing has an accuracy of 10 %."],
        cases={NETWORKS[b]: gain for b, gain in gains.items()},
        measure="points of accuracy beside as many random weights",
    )  # fmt: skip


def rate(results: Results, blocks: int, part: str) -> float:
    best: float = results.best("lr", "validation", blocks=blocks, part=part)
    return best


def accuracy(results: Results, blocks: int, part: str) -> Array:
    """Test accuracies with the best learning rate, in %, by seed."""
    return 100 * results.tuned("test", blocks=blocks, part=part)


def row(results: Results, blocks: int, part: str) -> list[Cell]:
    lr = rate(results, blocks, part)
    numbers = results.values("numbers", blocks=blocks, part=part, lr=lr)[0]
    return [NETWORKS[blocks], PARTS[part], f"{numbers:,.0f}", f"{lr:g}",
            estimate(accuracy(results, blocks, part))]  # fmt: skip


STUDY = Study(
    "only-norm",
    "Training nothing but weight and bias of batch normalization gets a network far, and further "
    "than as many of its other weights.",
    "Frankle, Schwab and Morcos (2020) train weight and bias of batch normalization alone: "
    "ResNet-866 gets to 82 % on CIFAR-10, far more than with two random weights of each channel.",
    "ResNets for small images (16, 32 and 64 channels) learn 1,197 digits of 8 × 8 pixels, in "
    "batches of 60 for 20 epochs, by SGD with a momentum of 0.9 and a rate that falls along a "
    "cosine. What does not train stays as it was drawn, and batch normalization's weight is 1 and "
    "its bias 0 at first. Batch normalization always takes the statistics of the batch. The random "
    "weights are two of each output channel of each convolution, so that there are as many as "
    f"batch normalization has. The rates are {', '.join(f'{r:g}' for r in RATES)}; each network "
    "and part has the one with the best accuracy on samples for validation.",
    settings,
    measure,
    conclude,
    minutes=16,
)
