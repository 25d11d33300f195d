"""Whether batch normalization helps a perceptron on a small table of measurements."""

from __future__ import annotations

import math

import numpy as np

from bn import nn
from bn.study import data, networks
from bn.study.conclusion import Cell, Chart, Conclusion, Line, Table, judged
from bn.study.data import Data
from bn.study.plan import Study, extended, grid
from bn.study.results import Measured, Results, Setting
from bn.study.statistics import difference, estimate
from bn.study.training import train
from bn.types import Array

MODELS = {
    "batch": "with batch normalization",
    "none": "without",
    "logistic": "logistic regression",
}
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)  # C of the logistic regression
FOLDS = 5
SCORES = {"accuracy": "accuracy, %", "loss": "log loss"}


class Scores(nn.Callback):
    """Accuracy and log loss on the samples for validation and test after each epoch."""

    def __init__(self, samples: Data) -> None:
        self.samples = samples
        self.validation: list[dict[str, float]] = []
        self.test: list[dict[str, float]] = []

    def on_epoch_end(self, state: nn.TrainingState) -> None:
        s = self.samples
        self.validation.append(nn.evaluate(state.model, s.x_validation, s.y_validation))
        self.test.append(nn.evaluate(state.model, s.x_test, s.y_test))


def settings(quick: bool) -> list[Setting]:
    """The axis `tuned` holds rates, or strengths of the logistic regression, as many of them."""
    rates = RATES[2:4] if quick else RATES
    strengths = STRENGTHS[2:4] if quick else STRENGTHS
    found = grid(model=["batch", "none"], tuned=rates) + grid(model=["logistic"], tuned=strengths)
    return extended(found, folds=FOLDS, epochs=20 if quick else 60, batch_size=32)


def measure(setting: Setting, seed: int) -> Measured:
    """The means over the folds."""
    function = logistic if setting["model"] == "logistic" else perceptron
    scores = [function(setting, samples, seed) for samples in folds(setting["folds"], seed)]
    return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}


def folds(count: int, seed: int) -> list[Data]:
    """For each fold a fifth for the test; a fifth of the rest is for validation."""
    from sklearn.model_selection import StratifiedKFold, train_test_split

    x, y = data.breast_cancer()
    found = []
    for rest, tested in StratifiedKFold(count, shuffle=True, random_state=seed).split(x, y):
        train, held_out = train_test_split(rest, test_size=0.2, stratify=y[rest], random_state=seed)
        found.append(scaled(x, y, train, held_out, tested))
    return found


def scaled(x: Array, y: Array, *parts: Array) -> Data:
    """Training, validation and test, each column scaled by the training's mean and deviation."""
    mean, std = x[parts[0]].mean(axis=0), x[parts[0]].std(axis=0)
    train, held_out, tested = (((x[part] - mean) / std).astype(np.float32) for part in parts)
    labels, labels_held_out, labels_tested = (y[part] for part in parts)
    return Data(train, labels, held_out, labels_held_out, tested, labels_tested, classes=2)


def perceptron(setting: Setting, samples: Data, seed: int) -> Measured:
    """The scores at the epoch with the least log loss on the samples for validation."""
    model = networks.mlp([samples.shape[0], 64, 32, 2], norm=setting["model"], seed=seed)
    scores = Scores(samples)
    train(
        model, samples, lr=setting["tuned"], epochs=setting["epochs"],
        batch_size=setting["batch_size"], seed=seed, validate=False, callbacks=[scores],
    )  # fmt: skip
    losses = [one["loss"] for one in scores.validation]
    if not any(map(math.isfinite, losses)):
        return guessed(samples)
    best = int(np.nanargmin(losses))
    return {**scores.test[best], "validation": losses[best], "epoch": best + 1}


def guessed(samples: Data) -> Measured:
    """The scores of a model that says 50 % of everything."""
    return {"loss": math.log(2), "accuracy": 0.5, "validation": math.log(2), "epoch": 0}


def logistic(setting: Setting, samples: Data, seed: int) -> Measured:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    model = LogisticRegression(C=setting["tuned"], max_iter=1000).fit(samples.x, samples.y)
    return {
        "loss": log_loss(samples.y_test, model.predict_proba(samples.x_test)),
        "accuracy": model.score(samples.x_test, samples.y_test),
        "validation": log_loss(samples.y_validation, model.predict_proba(samples.x_validation)),
        "epoch": 0,
    }


def conclude(results: Results) -> Conclusion:
    found = {(m, s): values(results, m, s) for m in MODELS for s in SCORES}
    accuracy = difference(found["batch", "accuracy"], found["none", "accuracy"])
    loss = difference(found["none", "loss"], found["batch", "loss"])
    estimates = {m: {s: estimate(found[m, s]) for s in SCORES} for m in MODELS}
    rows: list[list[Cell]] = [
        [MODELS[m], f"{tuned(results, m):g}", *(estimates[m][s] for s in SCORES)] for m in MODELS
    ]
    charts = [
        Chart(f"Test {label}", "", label, [Line("", list(MODELS.values()),
                                                [estimates[m][s] for m in MODELS])])
        for s, label in SCORES.items()
    ]  # fmt: skip
    return Conclusion(
        judged([accuracy, loss]),
        "On the samples of Wisconsin's breast cancer a perceptron has an accuracy of "
        f"{estimates['batch']['accuracy']} % with batch normalization and of "
        f"{estimates['none']['accuracy']} % without (gain {accuracy}), and a log loss of "
        f"{estimates['batch']['loss']} and {estimates['none']['loss']} (gain {loss}). Logistic "
        f"regression has an accuracy of {estimates['logistic']['accuracy']} % and a log loss of "
        f"{estimates['logistic']['loss']}.",
        charts,
        [Table("Means over all folds; tuned is the learning rate, or C of the regression",
               ["model", "tuned", "accuracy, %", "log loss"], rows)],
        ["A seed is a repetition of the cross-validation with other folds. All repetitions have "
         "the same 569 samples, so the intervals are about other folds and initial weights; for "
         "other patients they are too narrow.",
         "One learning rate is chosen for all folds, so samples for validation in one fold are "
         "test samples in another; this favours no model."],
        cases={"accuracy": accuracy, "log loss": loss},
        measure="gain (of accuracy in points)",
    )  # fmt: skip


def tuned(results: Results, model: str) -> float:
    best: float = results.best("tuned", "validation", least=True, model=model)
    return best


def values(results: Results, model: str, score: str) -> Array:
    """By seed, the accuracy in %."""
    found = results.values(score, model=model, tuned=tuned(results, model))
    return 100 * found if score == "accuracy" else found


STUDY = Study(
    "medical",
    "Batch normalization helps on small tables of measurements.",
    "Wolberg, Street and Mangasarian (1995), who made the data, estimate an accuracy of 97.5 % by "
    "ten-fold cross-validation, with three of the features and a plane between the classes. There "
    "is no well-known figure of batch normalization on these data.",
    "The 569 samples of Wisconsin's breast cancer have 30 features, which are scaled by the mean "
    "and deviation of the training's samples. Each repetition divides them into five folds with "
    "the same share of each class; each fold is the test once, and of the other four a fifth is "
    "for validation. The perceptron has layers of 64 and 32 ReLUs, and trains for 60 epochs in "
    "batches of 32 by SGD with a momentum of 0.9; what counts is the epoch with the least log "
    "loss on the samples for validation. Each model has the learning rate, of "
    f"{', '.join(f'{r:g}' for r in RATES)}, or the strength of the logistic regression, C, of "
    f"{', '.join(f'{c:g}' for c in STRENGTHS)}, with the least log loss on these samples.",
    settings,
    measure,
    conclude,
    minutes=5,
)
