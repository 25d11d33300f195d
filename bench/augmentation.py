"""Time the augmentations beside a loop over the images, and beside training steps.

``python bench/augmentation.py [--turns 7]``: a batch of 256 images of 3 × 32 × 32 in float32. The
loop does what a data set does that changes one image after the other, with NumPy. The contestants
take turns in one process, so that each finds the caches as others left them. The figures are
medians of the time on the clock, and of the CPU time of all threads, which other programs on the
machine disturb less.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from bn import nn
from bn.nn import augment

BATCH, CLASSES = 256, 10
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.25]
Made = Callable[[], object]


def usual() -> list[augment.Augmentation]:
    """Return what is usual for CIFAR: normalized, shifted and flipped images."""
    return [augment.Normalize(MEAN, STD), augment.RandomCrop(4), augment.RandomFlip()]


def augmentations(x: np.ndarray) -> dict[str, Made]:
    """Return a function for each augmentation, and one for the usual three in one call."""
    y, rng = np.arange(BATCH) % CLASSES, np.random.default_rng(0)
    steps = [*usual(), augment.RandomCrop(4, "reflect"), augment.Cutout(16)]
    steps += [augment.Mixup(0.2, CLASSES)]
    made = {repr(step): lambda step=step: step(x, y, rng) for step in steps}
    made["the first three"] = lambda: augment.Compose(usual())(x, y, rng)
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


def main() -> None:
    """Let all take turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    turns = parser.parse_args().turns
    x = np.random.default_rng(1).random((BATCH, 3, 32, 32), np.float32)
    last = nn.channels_last(x)
    made = augmentations(x)
    made |= {f"{name}, channels last": f for name, f in augmentations(last).items()}
    made["the first three, a loop over the images"] = loop(x)
    for model in (nn.models.CNNWithBatchNorm(rng=0), nn.models.resnet20(rng=0)):
        made[f"training step of {type(model).__name__}"] = training_step(model, x)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    for _ in range(turns + 1):
        for name, function in made.items():
            begin, cpu = time.perf_counter(), time.process_time()
            function()
            times[name].append((time.perf_counter() - begin, time.process_time() - cpu))
    print("| | ms | CPU ms | images per second of the CPU |\n|---|---|---|---|")
    for name, pairs in times.items():
        # The first turn takes memory from the system.
        clock, cpu = (statistics.median(values) for values in zip(*pairs[1:], strict=True))
        print(f"| {name} | {1e3 * clock:.2f} | {1e3 * cpu:.2f} | {BATCH / cpu:,.0f} |")


if __name__ == "__main__":
    main()
