"""Which normalization suits a recurrent network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import bn
from bn import nn
from bn.module import Module
from bn.study import data
from bn.study.conclusion import Cell, Chart, Conclusion, Table, by_epoch, judged
from bn.study.data import Data
from bn.study.plan import Study, extended, grid
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import difference, estimate
from bn.study.training import train_as
from bn.types import Array

NORMS = {
    "none": "none",
    "layer": "layer, both parts",
    "layer of sum": "layer, their sum",
    "batch": "batch, both parts",
    "input batch": "batch, the input's part",
}
KINDS = {
    "no normalization": ("none",),
    "layer normalization": ("layer", "layer of sum"),
    "batch normalization": ("batch", "input batch"),
}
NONE, LAYER, BATCH = KINDS
RATES = (0.003, 0.015, 0.07, 0.3)
HIDDEN = 32
WEIGHT = 0.1  # that of batch normalization in the steps at first, as Cooijmans et al. advise
# Each with its data, and the number of steps in which a sample is read.
TASKS: dict[str, dict[str, Any]] = {
    "8 × 8 digits": {"data": "digits", "steps": 8, "epochs": 15, "batch_size": 60},
    "mnist1d": {"data": "mnist1d", "steps": 10, "epochs": 10, "batch_size": 100},
}


class NormalizedLSTM(Module):
    """An LSTM's last output, with normalization inside of its steps.

    The gates are made of a part that comes from the input, and one that comes from the step before.
    Either of them is normalized or their sum, and the cell in front of its tanh as well. With
    "input batch" it is the input's part alone, with the statistics of all steps together.

    Parameters
    ----------
    norm : {"none", "layer", "layer of sum", "batch", "input batch"}
    features, hidden, steps : int
    rng : Generator
    """

    def __init__(
        self, norm: str, features: int, hidden: int, steps: int, rng: np.random.Generator
    ) -> None:
        parts = norm if norm in ("layer", "batch") else "none"
        whole = "layer" if norm == "layer of sum" else "none"
        cell = "layer" if norm == "layer of sum" else parts
        self.hidden, self.steps = hidden, steps
        self.from_input = nn.Linear(features, 4 * hidden, bias=False, rng=rng)
        self.from_before = nn.Linear(hidden, 4 * hidden, bias=False, rng=rng)
        self.bias = nn.Parameter(np.zeros(4 * hidden, np.float32))
        self.all_inputs = bn.BatchNorm1d(4 * hidden) if norm == "input batch" else nn.Identity()
        self.norms_input = nn.ModuleList(each_step(parts, 4 * hidden, steps))
        self.norms_before = nn.ModuleList(each_step(parts, 4 * hidden, steps - 1))
        self.norms_sum = nn.ModuleList(each_step(whole, 4 * hidden, steps))
        self.norms_cell = nn.ModuleList(each_step(cell, hidden, steps))
        self.sigmoid, self.tanh = nn.Sigmoid(), nn.Tanh()

    def forward(self, x: Any) -> Any:
        n, width = len(x), 4 * self.hidden
        inputs = self.all_inputs(self.from_input(x.reshape(n * self.steps, -1)))
        inputs = inputs.reshape(n, self.steps, width)
        h = c = None  # zeros before the first step
        for step in range(self.steps):
            gates = at(self.norms_input, step, inputs[:, step])
            if step:
                gates = gates + at(self.norms_before, step - 1, self.from_before(h))
            gates = at(self.norms_sum, step, gates) + self.bias
            opened = self.sigmoid(gates[:, self.hidden :])
            let_in, kept, let_out = (
                opened[:, i * self.hidden : (i + 1) * self.hidden] for i in range(3)
            )
            new = let_in * self.tanh(gates[:, : self.hidden])
            c = new if c is None else kept * c + new
            h = let_out * self.tanh(at(self.norms_cell, step, c))
        return h


def at(norms: nn.ModuleList, step: int, x: Any) -> Any:
    """Normalize x by the layer of this step; without layers it stays."""
    return norms[step](x) if len(norms) else x


def each_step(norm: str, features: int, steps: int) -> list[Module]:
    """A normalization for each step, all with the same weight and bias; nothing for "none".

    Layer normalization is one layer. Batch normalization has statistics of each step's own.
    """
    if norm == "none":
        return []
    if norm == "layer":
        return [bn.LayerNorm(features)] * steps
    layers = [bn.BatchNorm1d(features) for _ in range(steps)]
    weight = nn.Parameter(np.full(features, WEIGHT, np.float32))
    for layer in layers:
        layer.weight, layer.bias = weight, layers[0].bias
    return list(layers)


def settings(quick: bool) -> list[Setting]:
    rates = RATES[1:3] if quick else RATES
    found: list[Setting] = []
    for task, values in TASKS.items():
        epochs = values["epochs"] // 5 if quick else values["epochs"]
        found += extended(
            grid(task=[task], norm=list(NORMS), lr=rates),
            **{**values, "epochs": epochs}, hidden=HIDDEN,
        )  # fmt: skip
    return found


def measure(setting: Setting, seed: int) -> Measured:
    source = data.digits if setting["data"] == "digits" else data.mnist1d
    samples = in_steps(source(seed), setting["steps"])
    rng = np.random.default_rng(seed)
    features = samples.shape[1]
    model = nn.Sequential(
        NormalizedLSTM(setting["norm"], features, setting["hidden"], setting["steps"], rng),
        nn.Linear(setting["hidden"], samples.classes, rng=rng),
    )
    trained = train_as(
        setting,
        model,
        samples,
        seed,
        optimizer=nn.Adam(model.parameters(), setting["lr"]),
        cosine=True,
        test_each_epoch=True,
    )
    missing = setting["epochs"] - len(trained.tests)
    return {**trained.summary(), "curve": trained.tests + [trained.chance] * missing}


def in_steps(samples: Data, steps: int) -> Data:
    """The same with each sample's values in so many steps: x of shape (N, steps, values)."""
    parts = (samples.x, samples.x_validation, samples.x_test)
    x, x_validation, x_test = (part.reshape(len(part), steps, -1) for part in parts)
    return replace(samples, x=x, x_validation=x_validation, x_test=x_test)


def conclude(results: Results) -> Conclusion:
    tasks = results.axis("task")
    chosen = {(t, k): best_of(results, t, norms) for t in tasks for k, norms in KINDS.items()}
    found = {place: tested(results, place[0], norm) for place, norm in chosen.items()}
    ahead = {t: difference(found[t, LAYER], found[t, BATCH]) for t in tasks}
    told = [
        f"{t}: layer {estimate(found[t, LAYER])} %, batch {estimate(found[t, BATCH])} %, none "
        f"{estimate(found[t, NONE])} % (layer − batch: {ahead[t]}, layer − none: "
        f"{difference(found[t, LAYER], found[t, NONE])}, batch − none: "
        f"{difference(found[t, BATCH], found[t, NONE])})"
        for t in tasks
    ]
    charts = [
        Chart(t, "epoch", "test accuracy, %",
              [by_epoch(best(results, t, norm), NORMS[norm]) for norm in NORMS])
        for t in tasks
    ]  # fmt: skip
    return Conclusion(
        judged(ahead.values()),
        f"Test accuracy of an LSTM by its normalization. {'; '.join(told)}.",
        charts,
        [Table("Test accuracy, %, after the last epoch",
               ["task", "normalization", "learning rate", "accuracy", "more than without"],
               [row(results, t, norm) for t in tasks for norm in NORMS])],
        ["Of each normalization's two forms the verdict and the sentence are about the one with "
         "the better accuracy on samples for validation. "
         + "; ".join(f"{t}: {NORMS[chosen[t, k]]}" for t in tasks for k in (LAYER, BATCH)) + "."],
        cases=ahead,
        measure="points of accuracy, layer minus batch normalization",
    )  # fmt: skip


def row(results: Results, task: str, norm: str) -> list[Cell]:
    accuracies = tested(results, task, norm)
    gain = difference(accuracies, tested(results, task, "none"))
    lr = f"{rate(results, task, norm):g}"
    return [task, NORMS[norm], lr, estimate(accuracies), "" if norm == "none" else gain]


def best_of(results: Results, task: str, norms: Sequence[str]) -> str:
    """The one with the best accuracy on samples for validation."""
    return max(norms, key=lambda n: best(results, task, n).values("validation").mean())


def rate(results: Results, task: str, norm: str) -> float:
    found: float = results.best("lr", "validation", task=task, norm=norm)
    return found


def best(results: Results, task: str, norm: str) -> Results:
    """The measurements with the best learning rate."""
    return results.where(task=task, norm=norm, lr=rate(results, task, norm))


def tested(results: Results, task: str, norm: str) -> Array:
    """Test accuracies with the best learning rate, in %, by seed."""
    return 100 * best(results, task, norm).values("test")


STUDY = Study(
    "recurrent",
    "Layer normalization suits recurrent networks, batch normalization does not.",
    "Ba, Kiros and Hinton (2016) find layer normalization faster and better than recurrent batch "
    "normalization in LSTMs that read texts (figure 2, on questions about news). Cooijmans et al. "
    "(2016) get from 98.9 % to 99.0 % with batch normalization in the steps of an LSTM that reads "
    "the 784 pixels of MNIST, one by one.",
    f"An LSTM with {HIDDEN} cells and a linear layer on its last output read 1,197 digits row by "
    "row, in 8 steps of 8 values, or 3,500 signals of mnist1d, in 10 steps of 4 values. They "
    "train for 15 epochs in batches of 60, or for 10 in batches of 100, by Adam with a rate that "
    "falls along a cosine. "
    "Normalization is in the steps, as both papers have it: of the two parts of the gates, that "
    "of the input and that of the step before, each for itself, or, for layer normalization, of "
    "their sum; and of the cell in front of its tanh. There batch normalization has statistics "
    f"of each step's own, and a weight of {WEIGHT:g} at first, as Cooijmans et al. advise. Its "
    "other form normalizes the input's part alone, with one statistic for all steps. The rate at "
    f"the start, of {', '.join(f'{r:g}' for r in RATES)}, is the one with the best accuracy on "
    "samples for validation, for each task and each form. Layer normalization of the input's part "
    "takes away how large the values of a step are, which batch normalization keeps.",
    settings,
    measure,
    conclude,
    minutes=14,
)
