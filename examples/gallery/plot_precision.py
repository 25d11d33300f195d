"""
A mean that is large beside the standard deviation
==================================================

The variance is often computed in one pass as the mean of the squares minus the square of the mean.
Both are nearly the same number where the mean is large beside the standard deviation, and their
difference has lost the digits that both had in common. float32 has about seven digits. With a mean
of 1000 standard deviations the squares use up six of them, and from there on the result is noise,
which may even be negative.

:func:`bn.stats` takes float32 too. It adds a few terms at a time in float32 and these sums in
float64, and where the mean is large the terms are distances from a point near the mean, which have
few digits in common. :func:`bn.normalize` subtracts the mean in two parts, so no digit is lost
there either.
"""

import matplotlib.pyplot as plt
import numpy as np

import bn

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
CHANNELS, VALUES = 16, 10_000
RATIOS = 10.0 ** np.arange(0, 6.51, 0.5)  # mean / standard deviation

rng = np.random.default_rng(0)
z = rng.standard_normal((VALUES, CHANNELS))

# %%
# The values are ``z + ratio``, with z of mean 0 and standard deviation 1, rounded to float32. The
# true statistics are those of these rounded numbers, not of z. They are computed in float64 after
# the ratio has been subtracted again, so that these sums too lose nothing. The error of a method is
# the largest of 16 channels.


def one_pass(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the variance by E[x²] - E[x]², all in the dtype of x."""
    mean = x.mean(axis=0)
    return mean, (x * x).mean(axis=0) - mean * mean


METHODS = {
    "E[x²] - E[x]² in float32": one_pass,
    "np.mean, np.var in float32": lambda x: (x.mean(axis=0), x.var(axis=0)),
    "bn.stats of float32": lambda x: (bn.stats(x).mean, bn.stats(x).var),
}
STYLES = dict(zip(METHODS, ((ORANGE, "v"), (GREEN, "s"), (BLUE, "o")), strict=True))

errors = {name: [] for name in METHODS}
for ratio in RATIOS:
    x = (z + ratio).astype(np.float32)
    near = x.astype(np.float64) - ratio  # the same values about 0
    mean, var = near.mean(axis=0), near.var(axis=0)
    for name, method in METHODS.items():
        its_mean, its_var = method(x)
        in_std = abs((its_mean - ratio) - mean).max() / np.sqrt(var).min()
        errors[name].append((in_std, abs(its_var / var - 1).max()))

figure, panels = plt.subplots(1, 2, figsize=(9, 4), sharex=True, layout="constrained")
for name, values in errors.items():
    color, marker = STYLES[name]
    for axes, error in zip(panels, np.array(values).T, strict=True):
        axes.loglog(RATIOS, np.maximum(error, 1e-17), marker=marker, color=color, label=name)
panels[0].set(ylabel="error of the mean (standard deviations)", title="mean")
panels[1].set(ylabel="relative error of the variance", title="variance")
for axes in panels:
    axes.set(xlabel="mean / standard deviation", ylim=(1e-17, 1e10))
panels[1].axhline(1, color="0.5", linewidth=0.8, linestyle=":")
panels[0].legend(fontsize=9, loc="upper left")

largest = {name: np.max(values, axis=0) for name, values in errors.items()}
for name, (of_mean, of_var) in largest.items():
    print(f"{name}: largest error of the mean {of_mean:.1e}, of the variance {of_var:.1e}")

assert largest["bn.stats of float32"].max() < 1e-7  # the rounding of float32 is 6e-8
assert largest["E[x²] - E[x]² in float32"][1] > 1  # no digit is right

# %%
# Both float32 methods have the same mean, so their points on the left lie on each other. NumPy's
# variance takes two passes: it subtracts the mean first, so its squares are small and the digits
# stay, as long as the mean itself is right. But the mean is a sum in float32, and its error is some
# units of the last digit *of the mean*. Measured in standard deviations that grows with the ratio,
# and squared it comes back in the variance. ``np.var(x, dtype=np.float64)`` avoids it, at the price
# of more time and memory.
#
# ``bn`` even gets better with the ratio: near a large mean the numbers of float32 lie so far apart
# that their differences need only a few digits, and are exact.
#
# **What it does to the outputs.** Below, the same values are normalized in float32, with a mean of
# 10⁴ standard deviations. The points should lie on the line.

RATIO = 1e4
x = (z[:, :1] + RATIO).astype(np.float32)
exact = x.astype(np.float64)
wanted = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-5)

found = bn.stats(x)
outputs = {"bn.stats of float32": bn.normalize(x, found.mean, found.var)}
mean, var = one_pass(x)
outputs["E[x²] - E[x]² in float32"] = (x - mean) / np.sqrt(np.maximum(var, 0) + np.float32(1e-5))
print(f"one-pass variance of values with a standard deviation of 1: {var[0]}")

figure, panels = plt.subplots(
    1, 2, figsize=(9, 3.8), sharex=True, sharey=True, layout="constrained"
)
for axes, (name, y) in zip(panels, outputs.items(), strict=True):
    axes.plot(wanted[:1000], y[:1000], ".", color=STYLES[name][0], markersize=4)
    axes.axline((0, 0), slope=1, color="black", linewidth=0.8)
    axes.set(xlabel="wanted (float64)", title=name, ylim=(-4, 4))
panels[0].set_ylabel("normalized in float32")

assert abs(outputs["bn.stats of float32"] - wanted).max() < 1e-6
assert abs(outputs["E[x²] - E[x]² in float32"] - wanted).max() > 1
