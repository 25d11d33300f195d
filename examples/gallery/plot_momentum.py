"""
What momentum does to running statistics
========================================

In evaluation a batch normalization uses running statistics: averages over the batches of training,
in which each new batch gets the share ``momentum`` and the old average keeps the rest. (This is
PyTorch's meaning; Keras calls the share of the old average momentum.) A large share follows changes
quickly, but takes over the noise of single batches. A small one is smooth, but late.
"""

import matplotlib.pyplot as plt
import numpy as np

import bn

BATCHES, SIZE = 100, 32
CHANGE = 50  # the batch at which the data change
MOMENTA = {0.5: "#D55E00", 0.1: "#0072B2", 0.01: "#009E73"}

# %%
# One channel, 100 batches of 32 values. The first 50 batches have mean 2. Then the mean jumps to 3,
# as it may when the layers in front of the normalization learn.

rng = np.random.default_rng(0)
true_means = np.where(np.arange(BATCHES) < CHANGE, 2.0, 3.0)
batches = [bn.stats(rng.normal(mean, 1.0, (SIZE, 1))) for mean in true_means]
means = np.array([batch.mean[0] for batch in batches])

# %%
# :class:`bn.RunningStats` is what every layer has as ``layer.running``. It begins with mean 0, and
# takes the statistics of one batch after the other.


def running_means(**options) -> np.ndarray:
    """Return the running mean after each batch."""
    running = bn.RunningStats(1, dtype=np.float64, **options)
    found = []
    for batch in batches:
        running.update(batch)
        found.append(running.mean[0])
    return np.array(found)


curves = {momentum: running_means(momentum=momentum) for momentum in MOMENTA}
number = np.arange(1, BATCHES + 1)

figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
axes.plot(number, means, ".", color="0.6", label="mean of each batch")
axes.step(number, true_means, color="black", linewidth=1, where="mid", label="true mean")
for momentum, color in MOMENTA.items():
    axes.plot(number, curves[momentum], color=color, label=f"momentum {momentum}")
axes.set(xlabel="batch", ylabel="running mean (units of x)", ylim=(0, 4.3))
_ = axes.legend(loc="upper left", ncols=2, fontsize=9)

# %%
# After n batches the weight of what was there before is ``(1 - momentum)**n``, so half of a change
# has arrived when this is 1/2:

for momentum in MOMENTA:
    half = np.ceil(np.log(0.5) / np.log1p(-momentum))
    print(f"momentum {momentum}: batches until half of a change has arrived: {half:.0f}")

# %%
# With momentum 0.01 the running mean has not even left its first value, 0, behind when training
# ends: it is below 2, though no batch came from data with a mean below 2. Too few batches for the
# momentum are a common reason for a model that is good in training and bad in evaluation.

weight_of_first = (1 - 0.01) ** BATCHES
print(f"weight of the first value after {BATCHES} batches: {weight_of_first:.0%}")
assert weight_of_first > 1 / 3
assert curves[0.01][-1] < true_means.min()

# %%
# The noise goes the other way. If the data stay as they are, the running mean varies with the
# standard deviation ``sqrt(momentum / (2 - momentum))`` times that of the batches' means. Here we
# measure it over 4,000 batches for many momenta. The second curve is the price: the number of
# batches until 90 % of a change has arrived.

noise = np.random.default_rng(1).normal(0, 1 / np.sqrt(SIZE), 4000)
tried = np.geomspace(0.01, 0.9, 13)


def spread(momentum: float) -> float:
    """Return the running mean's standard deviation, relative to that of the batches' means."""
    running = bn.RunningStats(1, dtype=np.float64, momentum=momentum)
    values = []
    for value in noise:
        running.update(bn.Stats(np.array([SIZE * 1.0]), np.array([value]), np.array([SIZE * 1.0])))
        values.append(running.mean[0])
    return float(np.std(values) / noise.std())


measured = np.array([spread(momentum) for momentum in tried])
expected = np.sqrt(tried / (2 - tried))
delay = np.maximum(np.log(0.1) / np.log1p(-tried), 1)

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
left.loglog(tried, expected, color="0.5", label="sqrt(momentum / (2 - momentum))")
left.loglog(tried, measured, "o", color="#0072B2", label="measured")
left.set(xlabel="momentum", ylabel="noise of the running mean / of a batch's", title="noise")
left.legend(fontsize=9)
right.loglog(tried, delay, "o-", color="#D55E00", markersize=4)
right.set(xlabel="momentum", ylabel="batches until 90 % has arrived", title="delay")

assert np.allclose(measured, expected, rtol=0.15)

# %%
# Two other ways to average help in some cases. ``start="debiased"`` takes the weight of the first
# value away, which helps a small momentum in a short training. ``momentum=None`` averages all
# batches alike: the least noise, but the batches from before the change never fade. The surest way,
# after training, is to compute the statistics anew, with the final weights: :func:`bn.recalibrate`.

others = {
    "momentum 0.01": (running_means(momentum=0.01), "#009E73"),
    'momentum 0.01, start="debiased"': (running_means(momentum=0.01, start="debiased"), "#0072B2"),
    "momentum=None": (running_means(momentum=None), "#D55E00"),
}
figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
axes.step(number, true_means, color="black", linewidth=1, where="mid", label="true mean")
for (label, (curve, color)), line in zip(others.items(), ("-", "-", "--"), strict=True):
    axes.plot(number, curve, line, color=color, label=label)
axes.set(xlabel="batch", ylabel="running mean (units of x)", ylim=(0, 4.3))
axes.legend(loc="upper left", fontsize=9)

debiased, averaged = running_means(momentum=0.01, start="debiased"), running_means(momentum=None)
assert np.isclose(averaged[-1], means.mean())  # the average of all batches
assert abs(debiased[CHANGE - 1] - 2) < 0.1 < abs(curves[0.01][CHANGE - 1] - 2)
