"""
Padded sequences and masks
==========================

Sequences of different lengths are filled up with zeros, so that they fit into one array. If these
zeros enter the statistics of a batch normalization, the mean is pulled towards 0 and the variance
is wrong, by an amount that depends on which sequences happen to come together. ``lengths=`` or
``mask=`` leave the padding out, in the statistics and in the gradients.
"""

import matplotlib.pyplot as plt
import numpy as np

import bn

N, C, L = 16, 4, 60
BLUE, ORANGE = "#0072B2", "#D55E00"

rng = np.random.default_rng(0)
lengths = rng.integers(10, L + 1, N)
x = rng.normal(3, 1, (N, C, L)).astype(np.float32)
valid = np.arange(L) < lengths[:, None]  # (N, L)
x *= valid[:, None]  # the padding is 0

# %%
# We normalize the batch twice: as if the zeros were data, and with the lengths. A layer of
# :class:`bn.BatchNorm1d` takes (N, C, L).

counted = bn.BatchNorm1d(C, affine=False)(x)
left_out = bn.BatchNorm1d(C, affine=False)(x, lengths=lengths)

figure, panels = plt.subplots(
    1, 3, figsize=(9, 3.6), sharex=True, sharey=True, layout="constrained"
)
pictures = {"x, padded with 0": x, "padding counted": counted, "with lengths": left_out}
for axes, (title, values) in zip(panels, pictures.items(), strict=True):
    image = axes.imshow(values[:, 0], cmap="PuOr", vmin=-5, vmax=5, aspect="auto")
    axes.set(title=title, xlabel="place in the sequence")
panels[0].set_ylabel("sequence (first channel)")
_ = figure.colorbar(image, ax=panels, label="value")

# %%
# In the middle the values of the sequences are too large: the zeros have pulled the mean down. On
# the right they have mean 0 and variance 1. The padding is normalized too, to numbers that mean
# nothing; the layers behind it and the loss have to leave it out as well. In numbers:


def of_values(y: np.ndarray) -> np.ndarray:
    """Return what is not padding, shape (C, sum of the lengths)."""
    return np.moveaxis(y, 1, 0)[:, valid]


print("share of padding:", f"{1 - valid.mean():.0%}")
for title, y in {"padding counted": counted, "with lengths": left_out}.items():
    print(f"{title}: mean {of_values(y)[0].mean():.2f}, variance {of_values(y)[0].var():.2f}")

assert np.allclose(of_values(left_out).mean(axis=1), 0, atol=1e-5)
assert np.allclose(of_values(left_out).var(axis=1), 1, atol=1e-3)

# %%
# The more padding, the more the mean is wrong, and the variance gets a part that comes from the
# distance between the values and 0. With a share p of padding, and values of mean m and variance v,
# the batch has mean ``(1 - p)·m`` and variance ``(1 - p)·(v + p·m²)``. So batches of other lengths
# have other statistics, although their values come from the same source. The running statistics,
# an average of all, fit none of them.


def padded_batch(share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch of one channel with about so much padding, and its lengths."""
    ends = np.clip(rng.normal((1 - share) * L, 4, N).round().astype(int), 1, L)
    values = rng.normal(3, 1, (N, 1, L))
    return values * (np.arange(L) < ends[:, None])[:, None], ends


batches = [padded_batch(share) for share in np.linspace(0.02, 0.9, 60)]
shares = np.array([1 - ends.mean() / L for _, ends in batches])
with_padding = [bn.stats(values) for values, _ in batches]
without = [
    bn.stats(values, weights=bn.position_weights(values, lengths=ends)) for values, ends in batches
]

figure, panels = plt.subplots(1, 2, figsize=(8.5, 3.8), layout="constrained")
p = np.linspace(0, 0.9, 100)
expected = {"mean": (1 - p) * 3, "var": (1 - p) * (1 + p * 3**2)}
for axes, name, title in zip(panels, expected, ("mean", "variance"), strict=True):
    axes.plot(100 * p, expected[name], color="0.5", linewidth=1, label="formula")
    for found, color, label in (
        (with_padding, ORANGE, "padding counted"),
        (without, BLUE, "with lengths"),
    ):
        values = [getattr(batch, name)[0] for batch in found]
        axes.plot(100 * shares, values, ".", color=color, label=label)
    axes.set(xlabel="padding in the batch (%)", ylabel=f"{title} of the batch", ylim=(0, None))
panels[0].legend()

means = np.array([batch.mean[0] for batch in with_padding])
assert np.allclose(means, (1 - shares) * 3, atol=0.15)
assert max(abs(batch.mean[0] - 3) for batch in without) < 0.5  # noise of few values

# %%
# What a sequence becomes should not depend on how long its neighbours are. Here is the first
# sequence of the batch above, with the others as they are, and with an array that is four times as
# long for the sake of one long sequence. Its output changes if the padding counts; with lengths it
# moves only by what the values of the long sequence add to the statistics.

longer = np.zeros((N, C, 4 * L), np.float32)
longer[:, :, :L] = x
longer[-1] = rng.normal(3, 1, (C, 4 * L))
longer_lengths = np.append(lengths[:-1], 4 * L)

counted_longer = bn.BatchNorm1d(C, affine=False)(longer)
left_out_longer = bn.BatchNorm1d(C, affine=False)(longer, lengths=longer_lengths)

figure, panels = plt.subplots(1, 2, figsize=(8.5, 3.6), sharey=True, layout="constrained")
places = np.arange(lengths[0])
for axes, title, one, other in (
    (panels[0], "padding counted", counted, counted_longer),
    (panels[1], "with lengths", left_out, left_out_longer),
):
    axes.plot(
        places,
        one[0, 0, : lengths[0]],
        "o-",
        color=BLUE,
        markersize=4,
        label=f"arrays of length {L}",
    )
    axes.plot(
        places,
        other[0, 0, : lengths[0]],
        "s--",
        color=ORANGE,
        markersize=3,
        label=f"of length {4 * L}",
    )
    axes.set(title=title, xlabel="place in the sequence")
panels[0].set_ylabel("first sequence, normalized")
panels[0].legend()


def change(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest change of an output of the first sequence."""
    return float(np.abs(one[0, :, : lengths[0]] - other[0, :, : lengths[0]]).max())


print(f"largest change, padding counted: {change(counted, counted_longer):.2f}")
print(f"largest change, with lengths: {change(left_out, left_out_longer):.2f}")
assert change(counted, counted_longer) > 5 * change(left_out, left_out_longer)

# %%
# A mask says the same as lengths, and more: it may leave out places anywhere, such as values that a
# sensor did not measure. These may even be NaN.

layer = bn.BatchNorm1d(C, affine=False)
assert np.array_equal(layer(x, mask=valid), left_out)

mask = valid & (rng.random((N, L)) > 0.1)
holes = np.where(mask[:, None], x, np.float32(np.nan))
y = layer(holes, mask=mask)
assert np.isfinite(np.moveaxis(y, 1, 0)[:, mask]).all()
mean = np.moveaxis(y, 1, 0)[:, mask].mean()
print(f"{(valid & ~mask).sum()} values were not measured; the mean of the others is {mean:.1g}")
