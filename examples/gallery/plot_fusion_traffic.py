"""
What each pass through memory moves
===================================

A batch normalization computes little and moves much: for each number that it reads, it does one
multiplication and one addition. How long such a layer takes depends on how many bytes go through
memory. If it and the ReLU behind it each read an array and write another one, all values make the
way twice, and one pass that does both saves half of it.

``model.plan(shape)`` prints which layers are computed in one pass and how many bytes the arrays
have that it reads and writes. The numbers on this page are bytes that follow from the shapes, and
not measured times.
"""

import contextlib
import io
import re

import matplotlib.pyplot as plt

import bn
from bn import nn

BLUE, ORANGE = "#0072B2", "#D55E00"
SHAPE, BATCH = (3, 32, 32), 32

model = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1, rng=0), bn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1, rng=1), bn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(64, 64, 3, padding=1, rng=2), bn.BatchNorm2d(64), nn.ReLU(),
    nn.Flatten(), nn.Linear(64 * 8 * 8, 10, rng=3),
)  # fmt: skip
model.plan(SHAPE, BATCH)

# %%
# The plan says "1 + 2 + 3": normalization, ReLU and pooling of the first block are one pass. It
# never writes an array of the size that it reads: only the pooled values, and of each pooled value
# where it was taken and what it was before the normalization, which a backward pass needs. In
# training the pass reads its input twice, because the statistics have to be known before the first
# value can be normalized.
#
# For the comparison we need what the layers would move one by one: the plan within
# ``with nn.fused(False):``.

BYTES = re.compile(r"│ ([\d +]+?) +│.*│ +([\d,]+) │")


def moved(model: nn.Sequential, together: bool = True) -> dict[str, int]:
    """Return the bytes of each pass, read from the plan."""
    with nn.fused(together), contextlib.redirect_stdout(io.StringIO()) as printed:
        model.plan(SHAPE, BATCH)
    return {names: int(size.replace(",", "")) for names, size in BYTES.findall(printed.getvalue())}


# %%
# In the picture, each row is a pass. Where a pass has several layers, the orange bar above it is
# made of what these layers would move one by one.


def draw(axes: plt.Axes, model: nn.Sequential) -> tuple[int, int]:
    """Draw the bytes of each pass beside those of its layers, and return both sums."""
    passes, layers = moved(model), moved(model, together=False)
    for place, (names, size) in enumerate(passes.items()):
        left = 0.0
        for name in names.split(" + "):
            width = layers[name] / 2**20
            axes.barh(place - 0.2, width, 0.38, left=left, color=ORANGE, edgecolor="white")
            axes.text(left + width / 2, place - 0.2, name, ha="center", va="center", fontsize=8)
            left += width
        axes.barh(place + 0.2, size / 2**20, 0.38, color=BLUE, edgecolor="white")
    kinds = [
        " + ".join(type(model[int(name)]).__name__ for name in names.split(" + "))
        for names in passes
    ]
    axes.set_yticks(range(len(kinds)), labels=[kind.replace(" + ", "\n+ ") for kind in kinds])
    axes.tick_params(axis="y", labelsize=8)
    axes.set(xlabel="read and written (MiB)")
    return sum(passes.values()), sum(layers.values())


figure, panels = plt.subplots(1, 2, figsize=(9, 5), sharex=True, sharey=True, layout="constrained")
sums = {}
for axes, mode in zip(panels, ("training", "evaluation"), strict=True):
    model.train(mode == "training")
    sums[mode] = draw(axes, model)
    axes.set_title(mode)
panels[0].invert_yaxis()
handles = [plt.Rectangle((0, 0), 1, 1, color=color) for color in (ORANGE, BLUE)]
panels[1].legend(handles, ["layer by layer", "in one pass"], loc="lower right", fontsize=9)

for mode, (one_pass, one_by_one) in sums.items():
    print(f"{mode}: {one_pass / 2**20:.1f} MiB instead of {one_by_one / 2**20:.1f} MiB")

assert sums["training"][0] < 0.75 * sums["training"][1]
assert sums["evaluation"][0] < sums["training"][0]

# %%
# In evaluation the normalization is a multiplication and an addition for each channel with known
# numbers. :func:`bn.fold` puts these into the weights of the convolution, and the pass of its own
# disappears from the plan. Where the plan says "kernels", the convolution itself writes what ReLU
# and pooling give. On a processor without AVX2 it says "matrix products", and then ReLU and pooling
# are passes of their own.

folded = bn.fold(model.eval()).model
folded.plan(SHAPE, BATCH)
figure, axes = plt.subplots(figsize=(8, 2.8), layout="constrained")
totals = {
    "layer by layer": sums["evaluation"][1],
    "in one pass": sums["evaluation"][0],
    "folded": sum(moved(folded).values()),
}
axes.barh(list(totals), [size / 2**20 for size in totals.values()], color=[ORANGE, BLUE, "#009E73"])
axes.set(xlabel=f"read and written in evaluation, {BATCH} images (MiB)")
axes.invert_yaxis()

assert totals["folded"] < totals["layer by layer"]
if "0 + 1 + 2" in moved(folded):  # the convolution writes what ReLU and pooling give
    assert totals["folded"] < 0.5 * totals["in one pass"]
