"""
Batch size and noise
====================

The mean and the variance of a batch are estimates, and the smaller the batch the noisier they are:
four times as many samples halve the noise. This is the noise that batch normalization adds to
training, and what makes it fail with a few samples.

A convolution's channel has not N values in a batch, but N·H·W. That helps less than one hopes,
because the pixels of one image resemble each other.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images

import bn

SIZES = [1, 2, 4, 8, 16, 32, 64, 128]  # of batches
REPEATS = 200  # batches of each size

# %%
# Two populations of 32 × 32 pixels: places of the two photographs that come with scikit-learn, in
# grey and at half their size, and images whose pixels are those of all places in random order. Both
# have the same mean and the same variance.

rng = np.random.default_rng(0)
photographs = [
    image[:426].reshape(213, 2, 320, 2, 3).mean(axis=(1, 3, 4)) / 255
    for image in load_sample_images().images
]


def place() -> np.ndarray:
    """Return 32 × 32 pixels of a photograph."""
    image = photographs[rng.integers(2)]
    top, left = (rng.integers(length - 32) for length in image.shape)
    return image[top : top + 32, left : left + 32]


photos = np.array([place() for _ in range(2000)], np.float32)[:, None]  # (2000, 1, 32, 32)
shuffled = rng.permutation(photos.ravel()).reshape(photos.shape)
populations = {"independent pixels": shuffled, "photographs": photos}
colors = {"independent pixels": "#0072B2", "photographs": "#D55E00"}

figure, rows = plt.subplots(2, 6, figsize=(8, 2.9), layout="constrained")
for row, (name, images) in zip(rows, populations.items(), strict=True):
    row[0].set_ylabel(name.replace(" ", "\n"), rotation=0, ha="right", va="center")
    for axes, image in zip(row, images, strict=False):
        axes.imshow(image[0], cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])

# %%
# We draw many batches of each size, and take :func:`bn.stats` of each: its mean and its variance
# over all images and pixels. Their standard deviation from batch to batch is the noise. It is drawn
# relative to the standard deviation and to the variance of all pixels.


def noise(images: np.ndarray, size: int) -> tuple[float, float]:
    """Return the relative noise of the mean and of the variance of batches of a size."""
    found = [bn.stats(images[rng.integers(len(images), size=size)]) for _ in range(REPEATS)]
    whole = bn.stats(images)
    mean = np.std([batch.mean[0] for batch in found]) / np.sqrt(whole.var[0])
    var = np.std([batch.var[0] for batch in found]) / whole.var[0]
    return float(mean), float(var)


measured = {
    name: np.array([noise(images, size) for size in SIZES]) for name, images in populations.items()
}

figure, panels = plt.subplots(1, 2, figsize=(8.5, 4), sharey=True, layout="constrained")
for axes, column, title in zip(panels, (0, 1), ("mean", "variance"), strict=True):
    for name, values in measured.items():
        axes.loglog(SIZES, values[:, column], "o", color=colors[name], label=name)
        law = values[-1, column] * np.sqrt(SIZES[-1] / np.array(SIZES))
        axes.loglog(SIZES, law, color=colors[name], linewidth=1, label="1 / sqrt(N)")
    axes.set(xlabel="images in a batch, N", title=f"noise of the batch's {title}")
    axes.set_xticks(SIZES, labels=[str(size) for size in SIZES])
    axes.minorticks_off()
panels[0].set_ylabel("standard deviation, relative")
_ = panels[0].legend(fontsize=8, loc="center left", bbox_to_anchor=(0, 0.6))

# %%
# Both follow ``1 / sqrt(N)``, but the photographs lie far above. The variance of a batch with one
# photograph is an exception: it does not vary much because it knows nothing of how images differ
# from each other, which also makes it too small.
#
# If all values were independent,
# the relative noise of the mean would be ``1 / sqrt(n)`` for n values. Turned around, a batch has
# as many independent values as ``1 / noise**2``. Per image:


def independent_values(name: str) -> float:
    """Return how many independent values one image is worth for the mean."""
    return float(np.median(1 / measured[name][:, 0] ** 2 / SIZES))


for name in populations:
    print(f"{name}: an image of {32 * 32} pixels is worth {independent_values(name):.1f} values")

assert 700 < independent_values("independent pixels") < 1400  # all of its 1,024 pixels
assert independent_values("photographs") < 5
single = [bn.stats(image[None]).var[0] for image in photos]
assert np.mean(single) < 0.5 * bn.stats(photos).var[0]  # what one image knows of the variance

# %%
# So with convolutions, too, it is the number of images that counts. Below: what one value of x
# becomes in different batches, each with other images beside it. The value itself is always the
# same, half a standard deviation above the mean of all pixels. In a batch of 2 it may come out
# anywhere, some of it outside this picture, so the layers behind learn little from it.

whole = bn.stats(photos)
value = whole.mean + 0.5 * np.sqrt(whole.var)
outputs = {}
for size in (2, 8, 32):
    batches = [bn.stats(photos[rng.integers(len(photos), size=size)]) for _ in range(1000)]
    outputs[size] = np.array([(value - b.mean) / np.sqrt(b.var + 1e-5) for b in batches])[:, 0]

figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
edges = np.linspace(-2, 3, 80)
for (size, values), color in zip(outputs.items(), ("#D55E00", "#009E73", "#0072B2"), strict=True):
    axes.hist(values, edges, histtype="step", linewidth=1.8, color=color, label=f"{size} images")
axes.axvline(0.5, color="black", linewidth=1, label="with the statistics of all")
axes.set(xlabel="the same value after normalization (no unit)", ylabel="batches of 1,000")
axes.legend()

assert outputs[2].std() > 2 * outputs[32].std()
