"""
A report on an ill network
==========================

A network is trained to read digits of 8×8 pixels. Its loss falls in every epoch, and still it
misreads many digits in evaluation mode. ``bn.report`` runs one batch through the network in
evaluation mode and compares what each batch normalization gets with the running statistics that it
keeps.

The network here has three illnesses: running statistics that lag behind the training, channels
that do nothing, and a batch that is too small to train with. The report names each of them and says
what to do.
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import bn
from bn import nn

digits = load_digits()
images = (digits.images[:, None] / 16).astype(np.float32)  # (1797, 1, 8, 8), from 0 to 1
train, test = slice(0, 1200), slice(1200, None)


def network(width: int, momentum: float = 0.1) -> nn.Sequential:
    """Return two convolutions and two dense layers."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, rng=0),
        bn.BatchNorm2d(width, momentum=momentum),
        nn.ReLU(),
        nn.Conv2d(width, 16, 3, padding=1, stride=2, rng=1),
        bn.BatchNorm2d(16, momentum=momentum),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 32, rng=2),
        bn.BatchNorm1d(32, momentum=momentum),
        nn.ReLU(),
        nn.Linear(32, 10, rng=3),
    )


def accuracy(model: nn.Sequential) -> float:
    """Return the share of the test images that the model reads correctly in evaluation mode."""
    return nn.evaluate(model, images[test], digits.target[test])["accuracy"]


# %%
# The momentum is 0.002, so each batch moves the running statistics by 0.2 % of the way to its own.
# After the training they still lie near the mean 0 and the variance 1 that they began with.
# Besides, four channels of the first normalization were pruned: their weight and bias are 0.

model = network(width=16, momentum=0.002)
history = nn.fit(model, (images[train], digits.target[train]), epochs=4, rng=0, progress=False)
assert (np.diff(history["loss"]) < 0).all()
pruned = np.argsort(abs(model[1].weight.data))[:4]
model[1].weight.data[pruned] = model[1].bias.data[pruned] = 0

# %%
# The report has a row for each normalization, and below the table the advice. ``far`` is whether
# the running statistics of a layer are not those of its input; ``dead`` lists channels that do
# nothing.

ill = bn.report(model, images[train])
print(ill)

assert all(layer.far for layer in ill.layers)
assert set(ill.layers[0].dead) == set(pruned)

# %%
# A batch of 12 images is no good for the third normalization: it gets 12 values per channel, while
# the convolutions' normalizations get one for each pixel. A report on a batch of the size that one
# trains with shows it. (With so few samples it is silent about the statistics unless they are
# further off than chance can explain.)

few = bn.report(model, images[:12])
for line in few.advice:
    print(textwrap.fill(f"- {line}", 100, subsequent_indent="  "))

assert [layer.values for layer in few.layers] == [12 * 8 * 8, 12 * 4 * 4, 12]

# %%
# Now the repair. ``bn.recalibrate`` computes the statistics of the training data exactly. The dead
# channels are removed, together with the weights of the second convolution that read them: the
# network is smaller, and its outputs are the same.

accuracy_before = accuracy(model)
bn.recalibrate(model, np.array_split(images[train], 10))
accuracy_after = accuracy(model)

alive = np.setdiff1d(np.arange(16), pruned)
small = network(width=len(alive))
state = model.state_dict()
for name in state:
    if name.startswith(("0.", "1.")) and state[name].ndim:
        state[name] = state[name][alive]
state["3.weight"] = state["3.weight"][:, alive]
small.load_state_dict(state)

healthy = bn.report(small, images[train])
print(healthy)
print(f"read correctly: {accuracy_before:.1%} before, {accuracy_after:.1%} after")

assert healthy.advice == []
assert accuracy_after > accuracy_before + 0.2
assert np.allclose(small.eval()(images[test]), model.eval()(images[test]), atol=1e-4)

# %%
# The picture of the report has a point for each channel: above, how many standard deviations lie
# between the running mean and the batch's mean; below, the running variance over the batch's.
# Beyond the orange lines the report calls it a finding. ``report.plot()`` draws one report; here
# both are drawn side by side with the same axes.

BLUE, ORANGE = "#0072B2", "#D55E00"
figure, panels = plt.subplots(2, 2, figsize=(8, 5), sharex=True, sharey="row", layout="constrained")
for column, report, title in zip(panels.T, (ill, healthy), ("before", "after"), strict=True):
    for place, layer in enumerate(report.layers):
        x = place + np.linspace(-0.3, 0.3, len(layer.z))
        column[0].plot(x, layer.z, "o", color=BLUE, markersize=4)
        column[1].semilogy(x, layer.var_ratio, "o", color=BLUE, markersize=4)
    column[0].axhline(0.5, color=ORANGE, label="a finding from here on")
    for limit in (0.5, 2):
        column[1].axhline(limit, color=ORANGE)
    column[0].set_title(f"{title} the repair")
    column[1].set_xticks(range(3), labels=[f"layer {layer.name}" for layer in report.layers])
    column[1].set_xlabel("channels of each batch normalization")
panels[0, 0].set_ylabel("distance of the means\n(standard deviations)")
panels[1, 0].set_ylabel("running variance /\nthe batch's variance")
panels[0, 0].legend(fontsize=9, loc="upper left")

assert all(layer.z.max() < 0.5 for layer in healthy.layers)
