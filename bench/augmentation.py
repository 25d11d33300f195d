"""Augmentations beside a loop over the images, and beside training steps.

``python bench/augmentation.py``: a batch of 256 images of 3 × 32 × 32 in float32. The loop does
what a data set does that changes one image after the other, with NumPy. All take turns in one
process, so that each finds the caches as others left them; the first turn, which takes memory from
the system, does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import machine
import numpy as np
import results
import rounds
from tables import Cells, number

import bn
from bn import nn
from bn.nn import augment

BATCH, CLASSES = 256, 10
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.25]
LOOP = "the usual three in a loop over the images, by NumPy"
Made = Callable[[], object]


def usual() -> list[augment.Augmentation]:
    """Return what is usual for CIFAR: normalized, shifted and flipped images."""
    return [augment.Normalize(MEAN, STD), augment.RandomCrop(4), augment.RandomFlip()]


def augmentations(x: np.ndarray) -> dict[str, Made]:
    """Return a function for each augmentation, and one for the usual three in one call."""
    y, rng = np.arange(BATCH) % CLASSES, np.random.default_rng(0)
    steps = [*usual(), augment.RandomCrop(4, "reflect"), augment.Cutout(16)]
    steps += [augment.Mixup(0.2, CLASSES)]
    made = {f"`{step!r}`": lambda step=step: step(x, y, rng) for step in steps}
    made["the usual three"] = lambda: augment.Compose(usual())(x, y, rng)
    return made


def loop(x: np.ndarray) -> Made:
    """Return a function that does the usual three for one image after the other."""
    rng = np.random.default_rng(0)
    mean, std = (np.float32(v)[:, None, None] for v in (MEAN, STD))

    def one(image: np.ndarray) -> np.ndarray:
        padded = np.pad((image - mean) / std, ((0, 0), (4, 4), (4, 4)))
        i, j = rng.integers(0, 9, 2)
        cropped = padded[:, i : i + 32, j : j + 32]
        return cropped[..., ::-1] if rng.random() < 0.5 else cropped

    return lambda: np.stack([one(image) for image in x])


def training_step(model: nn.Module, x: np.ndarray) -> Made:
    """Return a function that does one training step."""
    criterion = nn.CrossEntropyLoss()
    optimizer = nn.SGD(model.parameters(), lr=0.01, momentum=0.9)
    y = np.arange(BATCH) % CLASSES

    def step() -> None:
        criterion(model(x), y)
        optimizer.zero_grad()
        model.backward(criterion.backward(), input_grad=False)
        optimizer.step()

    return step


def rows(result: dict[str, Any]) -> Cells:
    """Milliseconds on the clock and of the CPU time."""
    table = [["", "ms", "CPU ms"]]
    for name, times in result["calls"].items():
        table.append([name, *(number(times[kind]["median"]) for kind in ("clock", "cpu"))])
    return table


def main() -> None:
    """Let all take turns, print a table, and write the file."""
    options = results.parser(__doc__, repeat=15).parse_args()
    bn.set_num_threads(options.threads)
    usage = machine.Usage()
    x = np.random.default_rng(1).random((BATCH, 3, 32, 32), np.float32)
    last = nn.channels_last(x)
    made = augmentations(x)
    made |= {f"{name}, channels last": f for name, f in augmentations(last).items()}
    made[LOOP] = loop(x)
    for model in (nn.models.CNNWithBatchNorm(rng=0), nn.models.resnet20(rng=0)):
        made[f"training step of {type(model).__name__}"] = training_step(model, x)
    rounds.in_turns(made, 1)
    calls = rounds.in_turns(made, options.repeat)
    about = machine.describe(options.threads, ["bn"]) | usage.so_far()
    result = {"machine": about, "unit": "ms", "calls": calls}
    results.finish(result, {"a batch": rows(result)}, options.json)


if __name__ == "__main__":
    main()
