"""
Adapting to images of another camera
====================================

A network learns the means and variances of its training images, and in evaluation mode it
normalizes with them. Images that are noisier, paler or darker have other statistics, and then the
layers behind the normalizations get inputs of a kind that they have never seen. The accuracy falls,
although the digits can still be read.

:func:`bn.adapt` puts the statistics of the new images in the place of the old ones. It needs no
labels, and it changes no weight.
"""

import copy

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import bn
from bn import nn

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

digits = load_digits()
images = (digits.images[:, None] / 16).astype(np.float32)  # (1797, 1, 8, 8), from 0 to 1
train, test = slice(0, 1200), slice(1200, None)

model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1, rng=0), bn.BatchNorm2d(16), nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1, stride=2, rng=1), bn.BatchNorm2d(32), nn.ReLU(),
    nn.Flatten(), nn.Linear(32 * 4 * 4, 10, rng=2),
)  # fmt: skip
nn.fit(model, (images[train], digits.target[train]), epochs=6, rng=0, progress=False)
model.eval()

# %%
# The test images are corrupted in four ways. Nothing of this was in the training.

rng = np.random.default_rng(0)
clean = images[test]
noise = rng.standard_normal(clean.shape, np.float32)
corrupted = {
    "clean": clean,
    "noise": clean + 0.3 * noise,
    "low contrast": 0.5 + 0.15 * (clean - 0.5),
    "dark": 0.25 * clean,
    "pale and noisy": 0.6 + 0.3 * clean + 0.08 * noise,
}

figure, rows = plt.subplots(len(corrupted), 10, figsize=(7, 3.9), layout="constrained")
for row, (name, x) in zip(rows, corrupted.items(), strict=True):
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for axes, image in zip(row, x[:10, 0], strict=True):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])

# %%
# For each corruption we take a copy of the model and adapt it to all the corrupted images at once.
# The accuracy is that of evaluation mode, with the statistics of the training (the source) and with
# the adapted ones.


def accuracy(model: nn.Sequential, x: np.ndarray) -> float:
    """Return the share of the test images that are read correctly, in %."""
    return 100 * nn.evaluate(model, x, digits.target[test])["accuracy"]


def adapted(x: np.ndarray, prior: float = 0) -> nn.Sequential:
    """Return a copy of the model with the statistics of x."""
    return bn.adapt(copy.deepcopy(model), [x], prior=prior)


source = {name: accuracy(model, x) for name, x in corrupted.items()}
new = {name: accuracy(adapted(x), x) for name, x in corrupted.items()}

figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
place = np.arange(len(corrupted))
for shift, results, color, label in (
    (-0.2, source, ORANGE, "statistics of the training"),
    (0.2, new, BLUE, "adapted"),
):
    bars = axes.bar(place + shift, list(results.values()), 0.38, color=color, label=label)
    axes.bar_label(bars, fmt="%.0f", fontsize=9)
axes.axhline(10, color="black", linewidth=0.8, linestyle=":", label="guessing")
axes.set_xticks(place, labels=list(corrupted))
axes.set(ylabel="test accuracy (%)", ylim=(0, 125), yticks=range(0, 101, 20))
axes.legend(ncols=3, loc="upper center", fontsize=9)

for name in ("low contrast", "dark", "pale and noisy"):
    assert new[name] > source[name] + 20
assert abs(new["dark"] - source["clean"]) < 2
assert abs(new["clean"] - source["clean"]) < 3  # on clean images there is little to adapt to

# %%
# Darkness is repaired completely: the first convolution passes it on as another mean and another
# variance of its channels, and just these are replaced. Where the background gets brighter, a part
# stays lost, because the convolution pads the images with 0: for the training images that was the
# colour of the background, and now it draws a frame around each digit. Noise also hides the digits,
# and no statistics bring back what is hidden.
#
# **A few images only.** Each image gives 64 values per channel to the first normalization, so here
# even one or two images are enough. ``prior`` is the number of images that the statistics of the
# training stand for in a weighted mean of both. It protects from the noise of a few values. But it
# also keeps a part of the old statistics, and where these are as wrong as here, that costs more
# than the noise does. The points are means over four draws of new images of the kind "dark", and
# the accuracy is that on all of them.

SIZES, DRAWS = [1, 2, 4, 8, 16, 32, 64, 128], 4
x = corrupted["dark"]


def few(size: int, prior: float) -> float:
    """Return the accuracy after adapting to `size` images, the mean over draws."""
    draws = np.random.default_rng(1)
    drawn = [x[draws.choice(len(x), size, replace=False)] for _ in range(DRAWS)]
    return float(np.mean([accuracy(adapted(part, prior), x) for part in drawn]))


curves = {prior: [few(size, prior) for size in SIZES] for prior in (0, 4)}

figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
for (prior, values), color, marker in zip(curves.items(), (BLUE, GREEN), "os", strict=True):
    axes.semilogx(SIZES, values, marker=marker, color=color, label=f"prior={prior}")
axes.axhline(source["dark"], color=ORANGE, label="statistics of the training")
axes.set_xticks(SIZES, labels=[str(size) for size in SIZES])
axes.minorticks_off()
axes.set(xlabel="new images that the model is adapted to", ylabel="test accuracy (%)")
axes.legend(fontsize=9)

assert curves[0][1] > source["clean"] - 3  # two images
assert curves[4][1] < curves[0][1] - 5 and abs(curves[4][-1] - curves[0][-1]) < 2
