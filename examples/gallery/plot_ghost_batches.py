"""
Ghost batches: the noise of small batches in large ones
=======================================================

A large batch gives steady statistics, and with them the noise disappears that small batches add to
training. This noise regularizes. :class:`bn.GhostBatchNorm` keeps it: in training each batch is cut
into ghost batches of ``virtual_batch_size`` samples, and each of them is normalized with statistics
of its own. The gradient is still that of the whole batch.

Here we look at the statistics that the ghosts take, at what their noise does to an output, and at
the running statistics, which are not noisier than without ghosts.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import bn

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
BATCH, SIZES = 1024, [4, 8, 16, 32, 64, 128, 256, 512]

digits = load_digits()
rng = np.random.default_rng(0)
chosen = rng.permutation(len(digits.data))[:BATCH]
pixels = digits.data[chosen][:, [20, 28, 36, 42]]  # four pixels of the middle
x = pixels.astype(np.float32)  # (1024, 4), grey levels from 0 to 16
whole = bn.stats(x)

# %%
# Each point is the mean of one pixel over a ghost batch, and the line is the mean over the batch.
# The order of the samples is random, so a ghost is a random sample of the batch.


def ghosts(x: np.ndarray, size: int) -> list[bn.Stats]:
    """Return the statistics of each ghost batch."""
    return [bn.stats(x[start : start + size]) for start in range(0, len(x), size)]


figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
for place, size in enumerate(SIZES):
    means = np.array([ghost.mean[0] for ghost in ghosts(x, size)])
    beside = place + rng.uniform(-0.25, 0.25, len(means))
    axes.plot(beside, means, "o", color=BLUE, alpha=0.5, markersize=4, markeredgewidth=0)
axes.axhline(whole.mean[0], color=ORANGE, label=f"mean of all {BATCH} samples")
axes.set_xticks(range(len(SIZES)), labels=[str(size) for size in SIZES])
axes.set(xlabel="samples in a ghost batch", ylabel="mean of a pixel (grey levels)")
axes.legend(fontsize=9)

# %%
# **Noise of the statistics.** We repeat this with many orders of the samples, for all four pixels,
# and measure the scatter of the ghosts' means relative to the standard deviation of the values, and
# of their variances relative to the batch's. The means follow 1 / sqrt(size) while a ghost is a
# small part of the batch. Ghosts that are a large part of it are nearer: they are drawn without
# replacement, which brings in the factor sqrt(1 - size / batch).

ORDERS = 60


def noise(size: int) -> tuple[float, float]:
    """Return the relative scatter of the means and of the variances of ghosts of a size."""
    found = [ghost for _ in range(ORDERS) for ghost in ghosts(rng.permutation(x), size)]
    means = np.array([ghost.mean for ghost in found]) - whole.mean
    variances = np.array([ghost.var for ghost in found]) / whole.var - 1
    return np.sqrt((means**2 / whole.var).mean()), np.sqrt((variances**2).mean())


of_means, of_variances = np.transpose([noise(size) for size in SIZES])
law = 1 / np.sqrt(SIZES)
without_replacement = law * np.sqrt(1 - np.array(SIZES) / BATCH)

figure, axes = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
axes.loglog(SIZES, of_means, "o", color=BLUE, label="means / standard deviation")
axes.loglog(SIZES, of_variances, "s", color=GREEN, label="variances / variance")
axes.loglog(SIZES, law, color="0.6", linestyle="--", label="1 / sqrt(size)")
axes.loglog(SIZES, without_replacement, color=BLUE, linewidth=1, label="without replacement")
axes.set_xticks(SIZES, labels=[str(size) for size in SIZES])
axes.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5], labels=["2 %", "5 %", "10 %", "20 %", "50 %"])
axes.minorticks_off()
axes.set(xlabel="samples in a ghost batch", ylabel="scatter of the statistics")
axes.legend(fontsize=9)

assert np.allclose(of_means, without_replacement, rtol=0.1)

# %%
# **What a sample gets.** Its output depends on the ghost that it happens to be in. Here one sample
# is normalized 300 times in other company, and we look at the output of its first pixel. With the
# whole batch it would be the same number each time.

OFTEN = 300


def outputs(size: int) -> np.ndarray:
    """Return the first pixel's output for sample 0, in ghosts of other samples each time."""
    layer = bn.GhostBatchNorm(bn.BatchNorm1d(4), virtual_batch_size=size)
    found = []
    for _ in range(OFTEN):
        others = 1 + rng.permutation(BATCH - 1)
        found.append(layer(x[np.append(0, others)])[0, 0])  # sample 0 is in the first ghost
    return np.array(found)


shown = {16: ORANGE, 64: GREEN, 256: BLUE}
in_ghosts = {size: outputs(size) for size in shown}
alone = bn.BatchNorm1d(4)(x)[0, 0]

figure, axes = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
low, high = np.percentile(in_ghosts[16], [0.5, 99.5])
bins = np.linspace(low, high, 40)
for size, color in shown.items():
    axes.hist(in_ghosts[size], bins, histtype="step", color=color, lw=2, label=f"ghosts of {size}")
axes.axvline(alone, color="black", linewidth=1, label="whole batch")
axes.set(xlabel="output of one sample (standard deviations)", ylabel=f"how often, of {OFTEN}")
axes.legend(fontsize=9)

spreads = [in_ghosts[size].std() for size in shown]
assert spreads[0] > spreads[1] > spreads[2]

# %%
# **Running statistics.** They are updated with the merged statistics of all ghosts, so they are
# those of the whole batch, and evaluation does not see how it was cut. With ``momentum=1`` they are
# the last batch's.

ghost = bn.GhostBatchNorm(bn.BatchNorm1d(4, momentum=1), virtual_batch_size=16)
plain = bn.BatchNorm1d(4, momentum=1)
ghost(x)
plain(x)
print("running variance with ghosts:   ", ghost.layer.running_var)
print("running variance without ghosts:", plain.running_var)

assert np.allclose(ghost.layer.running_mean, plain.running_mean, rtol=1e-6)
assert np.allclose(ghost.layer.running_var, plain.running_var, rtol=1e-6)
