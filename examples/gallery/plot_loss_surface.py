"""
The loss around a network, with and without normalization
==========================================================

A step of gradient descent trusts the gradient for the length of the step. Along the negative
gradient the loss falls at first, but how far one may go before it rises again depends on the
network. Here we walk along that line, and over a small plane through it, for a network with batch
normalization and for the same network without.

The pictures show the losses at the same learning rates. Whether that is a fair comparison is a
question of its own, because the same rate is not the same step for both. ``bn study smoothness``
measures both networks at their own best rates as well.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from sklearn.datasets import load_digits

import bn
from bn import nn

COLORS = {"batch norm": "#0072B2", "no normalization": "#D55E00"}
DEPTH, WIDTH, BATCH = 6, 64, 256

digits = load_digits()
x = ((digits.data - digits.data.mean()) / digits.data.std()).astype(np.float32)[:BATCH]
y = digits.target[:BATCH]

# %%
# Six hidden layers, and a few steps of training, so that we do not look at the random beginning
# only. The networks begin with the same weights.


def network(normalized: bool) -> nn.Sequential:
    """Return the layers; both kinds of network draw the same weights."""
    rng, layers, size = np.random.default_rng(0), [], x.shape[1]
    for _ in range(DEPTH):
        linear = nn.Linear(size, WIDTH, rng=0)
        linear.weight.data[:] = np.sqrt(2 / size) * rng.standard_normal((WIDTH, size))
        layers += [linear, bn.BatchNorm1d(WIDTH)] if normalized else [linear]
        layers.append(nn.ReLU())
        size = WIDTH
    return nn.Sequential(*layers, nn.Linear(size, 10, rng=rng))


def loss_of(model: nn.Sequential) -> float:
    """Return the loss of the batch; the parameters get its gradient."""
    criterion = nn.CrossEntropyLoss()
    model.zero_grad()
    loss = criterion(model(x), y)
    model.backward(criterion.backward())
    return float(loss)


def trained(normalized: bool, steps: int = 5) -> nn.Sequential:
    """Return a network after some steps."""
    model = network(normalized)
    optimizer = nn.SGD(model.parameters(), lr=0.05)
    for _ in range(steps):
        loss_of(model)
        optimizer.step()
    return model


models = {name: trained(name == "batch norm") for name in COLORS}

# %%
# All parameters of a model as one vector make the geometry simple.


def vector(arrays) -> np.ndarray:
    """Return the values of all arrays, one after the other."""
    return np.concatenate([np.ravel(array) for array in arrays]).astype(np.float64)


def set_parameters(model: nn.Sequential, values: np.ndarray) -> None:
    """Write a vector into the parameters."""
    start = 0
    for parameter in model.parameters():
        part = values[start : start + parameter.data.size]
        parameter.data[...] = part.reshape(parameter.data.shape)
        start += parameter.data.size


def loss_at(model: nn.Sequential, values: np.ndarray) -> float:
    """Return the loss of the batch for other parameters."""
    set_parameters(model, values)
    with nn.no_grad(), bn.no_stat_update():
        return float(nn.CrossEntropyLoss()(model(x), y))


# %%
# First along the gradient. The horizontal axis is the learning rate, which is the length of the
# step in units of the gradient; dashed is what the gradient promises. Both losses follow it for the
# first bit of the way.

rates = np.linspace(0, 4, 81)
here, gradients, lines = {}, {}, {}
for name, model in models.items():
    loss_of(model)
    here[name] = vector(p.data for p in model.parameters())
    gradients[name] = vector(p.grad for p in model.parameters())
    lines[name] = np.array([loss_at(model, here[name] - r * gradients[name]) for r in rates])
    set_parameters(model, here[name])

figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
for name, losses in lines.items():
    axes.plot(rates, losses, color=COLORS[name], label=name)
    promise = losses[0] - rates * np.sum(gradients[name] ** 2)
    axes.plot(rates, promise, "--", color=COLORS[name], linewidth=1)
axes.set(
    xlabel="learning rate of the step",
    ylabel="cross-entropy of the batch (nats)",
    xlim=(0, rates[-1]),
    ylim=(0, 5),
)
_ = axes.legend()

# %%
# Without normalization the best step is short and good, and a step of twice its length already
# undoes it. With normalization no step on this line does harm.

best = {name: rates[losses.argmin()] for name, losses in lines.items()}
for name, losses in lines.items():
    print(
        f"{name}: loss from {losses[0]:.2f} to {losses.min():.2f} at rate {best[name]:.2f}, "
        f"{losses[-1]:.2f} at rate {rates[-1]:.0f}"
    )
plain, normalized = lines["no normalization"], lines["batch norm"]
assert plain[rates >= 2 * best["no normalization"]].min() > plain[0]
assert normalized[1:].max() < normalized[0]

# %%
# The reason is that a batch normalization divides by the size of the weights before it. Making the
# weights of a channel longer does not change its output, so the gradient is perpendicular to them:
# a step in its direction turns the weights and makes them longer, never shorter. The longer they
# are, the less the next bit of the way turns them, and the loss levels out.

for layer, norm in zip(models["batch norm"][:-1:3], models["batch norm"][1:-1:3], strict=True):
    w, dw = layer.weight.data, layer.weight.grad  # (64, inputs): a row for each channel
    used = norm.running.var > 0.01  # channels of which eps does not hide the size
    along = np.sum(w * dw, axis=1) / np.linalg.norm(w, axis=1) / np.linalg.norm(dw)
    assert np.abs(along[used]).max() < 1e-3

# %%
# Now the plane through this line and through the gradient of another batch, of which we take what
# is perpendicular to the first. The cross is where the network is, and the arrow a step with
# learning rate 1. The lines connect places of the same loss; both pictures have the same colours.

other_x = ((digits.data - digits.data.mean()) / digits.data.std()).astype(np.float32)[-BATCH:]
other_y = digits.target[-BATCH:]


def second_direction(name: str) -> np.ndarray:
    """Return the other batch's gradient, perpendicular to the first and of its length."""
    model, first, criterion = models[name], gradients[name], nn.CrossEntropyLoss()
    model.zero_grad()
    with bn.no_stat_update():
        criterion(model(other_x), other_y)
        model.backward(criterion.backward())
    second = vector(p.grad for p in model.parameters())
    second -= first * (second @ first) / (first @ first)
    return second * np.linalg.norm(first) / np.linalg.norm(second)


def plane(name: str, along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Return the loss at each place of the plane."""
    first, second = gradients[name], second_direction(name)
    return np.array(
        [
            [loss_at(models[name], here[name] - a * first - b * second) for a in along]
            for b in across
        ]
    )


along, across = np.linspace(-1, 3, 21), np.linspace(-2, 2, 21)
planes = {name: plane(name, along, across) for name in models}

levels = [0.5, 0.75, 1, 1.25, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000]
figure, panels = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
for axes, (name, losses) in zip(panels, planes.items(), strict=True):
    norm = LogNorm(0.5, 100)
    axes.contourf(along, across, losses, levels, cmap="cividis", norm=norm, extend="both")
    drawn = axes.contour(along, across, losses, levels, colors="white", linewidths=0.6)
    axes.clabel(drawn, fontsize=7, fmt="%g")
    axes.plot(0, 0, "x", color="white", markersize=9, markeredgewidth=2)
    axes.annotate(
        "", (1, 0), (0, 0), arrowprops={"arrowstyle": "->", "color": "white", "linewidth": 1.5}
    )
    axes.set(title=name, xlabel="step along this batch's gradient (learning rate)", aspect="equal")
panels[0].set_ylabel("step along another batch's (learning rate)")

highest = {name: losses.max() for name, losses in planes.items()}
print("highest loss:", {name: round(float(loss), 1) for name, loss in highest.items()})
assert highest["no normalization"] > 10 * highest["batch norm"]
