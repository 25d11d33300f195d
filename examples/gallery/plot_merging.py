"""
Merging statistics of parts
===========================

Data that do not fit into memory, or that lie on several machines, are read in parts. The mean and
the variance of all values can be computed from the parts exactly, if each part keeps three numbers
per channel: how many values it has (``count``), their ``mean``, and the sum of their squared
distances from it (``m2``). :func:`bn.stats` returns these three, and :func:`bn.merge` puts the
parts together:

.. math::

   \\mu = \\sum_b \\frac{M_b}{M} \\mu_b, \\qquad
   m_2 = \\sum_b \\left( m_{2,b} + M_b (\\mu_b - \\mu)^2 \\right), \\qquad
   \\sigma^2 = \\frac{m_2}{M}.

The second term, the distance of the parts' means from each other, is what is forgotten when one
averages the variances of the parts.
"""

import matplotlib.pyplot as plt
import numpy as np

import bn

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

# %%
# One channel, whose mean drifts while it is recorded. It is cut into six parts of very different
# sizes. Each box shows mean ± standard deviation of a part.

rng = np.random.default_rng(0)
time = np.arange(6000)
x = (2 * np.sin(time / 1900) + time / 3000 + 0.5 * rng.standard_normal(time.size))[:, None]
cuts = [700, 1000, 2900, 3300, 5200]
parts = [bn.stats(part) for part in np.split(x, cuts)]
whole, merged = bn.stats(x), bn.merge(parts)

figure, axes = plt.subplots(figsize=(8.5, 3.6), layout="constrained")
axes.plot(time, x[:, 0], ".", color="0.8", markersize=2, zorder=0)
for left, right, part in zip([0, *cuts], [*cuts, time.size], parts, strict=True):
    mean, std = part.mean[0], np.sqrt(part.var[0])
    axes.fill_between([left, right], mean - std, mean + std, color=BLUE, alpha=0.35, linewidth=0)
    axes.plot([left, right], [mean, mean], color=BLUE, linewidth=2)
    axes.axvline(right, color="0.5", linewidth=0.6)
inside = np.mean([part.var[0] for part in parts])  # the naive average of variances
for place, var, color, label in (
    (6500, merged.var[0], GREEN, "bn.merge"),
    (7300, inside, ORANGE, "averaged\nvariances"),
):
    axes.errorbar(place, merged.mean[0], np.sqrt(var), color=color, capsize=5, linewidth=2)
    axes.annotate(label, (place, merged.mean[0] + np.sqrt(var)), (0, 8), ha="center",
                  textcoords="offset points", color=color, fontsize=9)  # fmt: skip
axes.set(xlabel="number of the value", ylabel="value (mean ± standard deviation)", xlim=(0, 7800))

print(f"standard deviation: whole {np.sqrt(whole.var[0]):.4f}, merged {np.sqrt(merged.var[0]):.4f}")
print(f"root of the averaged variances: {np.sqrt(inside):.4f}")

assert np.isclose(merged.var[0], whole.var[0], rtol=1e-14)
assert inside < 0.6 * whole.var[0]

# %%
# **Any number of parts.** Below, the same values are cut at random places into 2 to 1000 parts. The
# more parts there are, the less of the drift is inside of a part, and the more is missing from the
# average of their variances, even if it is weighted with the parts' sizes. What is left in the end
# is the variance around the drift, and less where a part has so few values that its mean follows
# them. The merged variance does not depend on how the values are cut: it differs from that of the
# whole by the rounding of float64.


def cut(number: int) -> list[bn.Stats]:
    """Return the statistics of a number of parts of x, cut at random places."""
    places = np.sort(rng.choice(np.arange(1, len(x)), number - 1, replace=False))
    return [bn.stats(part) for part in np.split(x, places)]


NUMBERS = [2, 3, 5, 10, 20, 50, 100, 200, 500, 1000]
found = [cut(number) for number in NUMBERS]
merges = np.array([bn.merge(parts).var[0] for parts in found]) / whole.var[0]
averages = [np.mean([part.var[0] for part in parts]) / whole.var[0] for parts in found]
weighted = [sum(part.m2[0] for part in parts) / whole.m2[0] for parts in found]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for values, color, style, label in (
    (merges, GREEN, "o-", "bn.merge"),
    (weighted, BLUE, "s-", "averaged, weighted with sizes"),
    (averages, ORANGE, "v--", "averaged"),
):
    left.semilogx(NUMBERS, values, style, color=color, label=label)
left.set(xlabel="number of parts", ylabel="variance / variance of the whole", ylim=(0, 1.1))
left.legend(fontsize=9, loc=(0.35, 0.55))
right.semilogx(NUMBERS, 1e16 * (merges - 1), "o-", color=GREEN)
right.set(xlabel="number of parts", ylabel=r"bn.merge, relative error ($10^{-16}$)", ylim=(-20, 20))
right.axhspan(-2.2, 2.2, color="0.85", label="next numbers of float64")
right.legend(fontsize=9, loc="lower left")

assert abs(merges - 1).max() < 1e-14
assert max(weighted[2:]) < 0.8

# %%
# **In any order.** Merging is associative up to rounding, so parts can be merged as they come in,
# in pairs on several machines, or all at the end. An empty part changes nothing.

pairs = bn.merge([bn.merge(parts[:2]), bn.merge([bn.stats(x[:0]), *parts[2:]])])
running = parts[0]
for part in parts[1:]:
    running = bn.merge([running, part])

for other in (pairs, running, bn.merge(parts[::-1])):
    assert np.allclose(other.mean, whole.mean, rtol=1e-13)
    assert np.allclose(other.var, whole.var, rtol=1e-13)
    assert other.count[0] == len(x)
