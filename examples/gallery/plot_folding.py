"""
Folding: the same outputs with fewer layers
===========================================

In evaluation a batch normalization multiplies each channel by a constant and adds another one. A
convolution or a linear layer in front of it can do this itself, with other weights:
``weight' = weight·s`` and ``bias' = (bias - mean)·s + beta``, where ``s = gamma / sqrt(var + eps)``
for each output channel. :func:`bn.fold` returns a copy of a model that has been simplified in this
way. It does less work and moves less memory.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import bn
from bn import nn

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"

# %%
# A small network for scikit-learn's digits, trained for two epochs, so that its running statistics
# and weights are not those of the beginning.

digits = load_digits()
x = (digits.images[:, None] / 8 - 1).astype(np.float32)  # (1797, 1, 8, 8)
train, test = slice(0, 1200), slice(1200, None)

rng = np.random.default_rng(0)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1, rng=rng), bn.BatchNorm2d(16), nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1, rng=rng), bn.BatchNorm2d(32), nn.ReLU(),
    nn.MaxPool2d(2), nn.Flatten(),
    nn.Linear(512, 64, rng=rng), bn.BatchNorm1d(64), nn.ReLU(),
    nn.Linear(64, 10, rng=rng),
)  # fmt: skip
nn.fit(model, (x[train], digits.target[train]), epochs=2, rng=0, progress=False)
model.eval()

folded = bn.fold(model)
print(folded)

# %%
# **Where the weights go.** The first convolution has 16 kernels of 3 × 3. Folding multiplies each
# of them by its channel's s, so their patterns stay and their sizes change. The means and the
# shifts of the batch normalization go into the bias.

before, norm, after = model[0], model[1], folded.model[0]
s = norm.weight.data / np.sqrt(norm.running_var + norm.eps)  # (16,)

figure = plt.figure(figsize=(9, 4.6), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.4))
kernels = top.subplots(2, 16)
limit = np.abs(after.weight.data).max()
for row, layer, name in zip(kernels, (before, after), ("before", "after"), strict=True):
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for axes, kernel in zip(row, layer.weight.data[:, 0], strict=True):
        image = axes.imshow(kernel, cmap="PuOr", vmin=-limit, vmax=limit)
        axes.set(xticks=[], yticks=[])
top.colorbar(image, ax=kernels, label="weight", pad=0.01)

left, right = bottom.subplots(1, 2)
channel = np.arange(16)
left.bar(channel, s, color=GREEN)
left.set(xlabel="channel of the first convolution", ylabel="s, weight after / before")
right.bar(channel - 0.2, before.bias.data, 0.4, color=ORANGE, label="before")
right.bar(channel + 0.2, after.bias.data, 0.4, color=BLUE, label="after")
right.axhline(0, color="black", linewidth=0.8)
right.set(xlabel="channel of the first convolution", ylabel="bias")
right.legend(fontsize=9)

assert np.allclose(after.weight.data, before.weight.data * s[:, None, None, None], rtol=1e-5)
assert np.allclose(
    after.bias.data, (before.bias.data - norm.running_mean) * s + norm.bias.data, atol=1e-5
)

# %%
# **The same outputs.** They differ by the rounding of float32, because the products that are added
# up have other factors. The lines show the distance from an output to the next number of float32.
# ``folded.error`` is the difference of each pair and its fold in float64: the formula is exact, and
# only rounding is left.

y, y_folded = model(x[test]), folded.model(x[test])
difference = y_folded - y
print(f"largest difference of {y.size} outputs: {np.abs(difference).max():.1e}")
print(f"in float64, relative: {folded.error:.1e}")

figure, axes = plt.subplots(figsize=(8, 3.8), layout="constrained")
axes.plot(y.ravel(), 1e6 * difference.ravel(), ".", color=BLUE, markersize=3)
places = np.linspace(y.min(), y.max(), 2000, dtype=np.float32)
spacing = 1e6 * np.abs(np.spacing(places))
axes.plot(places, spacing, color=ORANGE, label="next number of float32")
axes.plot(places, -spacing, color=ORANGE)
axes.set(xlabel="output of the model (logit)", ylabel="folded - model (millionths)")
axes.legend(loc="upper left", fontsize=9)

assert np.abs(difference).max() < 1e-5 * np.abs(y).max()
assert np.array_equal(y.argmax(axis=1), y_folded.argmax(axis=1))  # the same predictions
assert folded.error < 1e-12

# %%
# **What is saved.** We count the layers, the numbers in a file of the model (parameters, running
# statistics, and counts of batches), and the bytes that a prediction of 64 images writes if each
# layer writes an array of its own, as it does for :func:`bn.nn.capture`. (``bn`` computes
# neighbouring layers in one pass where it can, so it writes less than this in both cases.)


def costs(model: nn.Sequential) -> dict[str, float]:
    """Return how many layers, numbers and bytes a model has."""
    captured = nn.capture(model, x[:64])
    written = [call.output.nbytes for name, call in captured.items() if name]
    numbers = [np.size(array) for array in model.state_dict().values()]
    return {
        "layers": len(model),
        "numbers in the file": sum(numbers),
        "bytes written": sum(written),
    }


whole, small = costs(model), costs(folded.model)
figure, axes = plt.subplots(figsize=(8, 3.0), layout="constrained")
names = list(whole)
shares = [100 * small[name] / whole[name] for name in names]
axes.barh(names, [100] * len(names), color=ORANGE, height=0.6, label="model")
axes.barh(names, shares, color=BLUE, height=0.4, label="folded")
for place, name in enumerate(names):
    axes.text(102, place, f"{small[name]:,} of {whole[name]:,}", va="center")
axes.set(xlabel="folded model, % of the model", xlim=(0, 160), xticks=range(0, 101, 20))
axes.invert_yaxis()
axes.legend(loc="upper right", fontsize=9)

assert small["layers"] == whole["layers"] - len(folded.folded)
assert small["bytes written"] < 0.75 * whole["bytes written"]
