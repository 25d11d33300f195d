"""
Activations through depth
=========================

Ten dense layers with tanh, whose first weights are too small, right, or too large. Without
normalization the signal vanishes on its way through the layers, or ends at the two limits of the
tanh, where the derivative is nearly 0. A batch normalization in front of each tanh divides its
input by the standard deviation, so the size of the weights before it does not matter.
"""

import matplotlib.pyplot as plt
import numpy as np

import bn
from bn import nn

DEPTH, WIDTH = 10, 64
SCALES = {"small": 0.4, "right": 1.0, "large": 4.0}  # of the weights, times 1 / sqrt(WIDTH)
COLORS = {"small": "#0072B2", "right": "#009E73", "large": "#D55E00"}


def network(scale: float, normalized: bool) -> nn.Sequential:
    """Return the layers; both kinds of network draw the same weights."""
    rng, layers = np.random.default_rng(0), []
    for _ in range(DEPTH):
        linear = nn.Linear(WIDTH, WIDTH, bias=False, rng=0)
        linear.weight.data[:] = scale / np.sqrt(WIDTH) * rng.standard_normal((WIDTH, WIDTH))
        layers += [linear, bn.BatchNorm1d(WIDTH)] if normalized else [linear]
        layers.append(nn.Tanh())
    return nn.Sequential(*layers)


x = np.random.default_rng(1).standard_normal((512, WIDTH), dtype=np.float32)
models = {(size, norm): network(SCALES[size], norm) for norm in (False, True) for size in SCALES}

# %%
# :func:`bn.nn.capture` runs a model and returns what each layer got and gave. We keep what the ten
# tanh give, arrays of shape (512, 64). Each row of an image is the histogram of one layer: the
# darker, the more values lie there. The first layer is at the top.


def activations(model: nn.Sequential) -> list[np.ndarray]:
    """Return the output of each tanh, from the first to the last."""
    captured = nn.capture(model, x)
    tanhs = [name for name, layer in model.named_modules() if isinstance(layer, nn.Tanh)]
    return [captured[name].output for name in tanhs]


found = {key: activations(model) for key, model in models.items()}
edges = np.linspace(-1, 1, 62)

figure, panels = plt.subplots(2, 3, figsize=(9, 5), sharex=True, sharey=True, layout="constrained")
for axes, ((size, norm), outputs) in zip(panels.flat, found.items(), strict=True):
    shares = np.array([np.histogram(y, edges)[0] / y.size for y in outputs])
    image = axes.imshow(
        np.sqrt(shares),  # the root, so that small shares can be seen beside large ones
        cmap="Blues",
        aspect="auto",
        extent=(-1, 1, DEPTH + 0.5, 0.5),
        vmin=0,
        vmax=0.6,
    )
    axes.set_title(f"{size} weights, {'batch norm' if norm else 'no normalization'}", fontsize=10)
panels[0, 0].set_yticks(range(2, DEPTH + 1, 2))
for axes in panels[:, 0]:
    axes.set_ylabel("layer")
for axes in panels[1]:
    axes.set_xlabel("activation")
ticks = np.array([0.0, 0.02, 0.1, 0.3])
bar = figure.colorbar(image, ax=panels, label="share of the values", aspect=30, extend="max")
bar.set_ticks(np.sqrt(ticks), labels=[f"{100 * tick:.0f} %" for tick in ticks])

# %%
# With normalization the three pictures are the same, although the largest weights are ten times the
# smallest. What is left of a difference comes from eps, which is added to the variance.

last = {key: outputs[-1] for key, outputs in found.items()}
assert np.allclose(last["small", True], last["large", True], atol=0.01)
assert last["small", False].std() < 0.001  # vanished
assert np.mean(abs(last["large", False]) > 0.9) > 0.5  # more than half are at the limits

# %%
# The gradients show why this matters. We send the same numbers back through each network, and take
# the root mean square of the gradient of each layer's weights. Small weights let it vanish, so that
# none of the layers learns much. Large weights make it grow from each layer to the one before it,
# until the steps of the first layers are many times as long as those of the last. With
# normalization the gradient is divided by the size of the weights, which is why the three solid
# lines on the right lie apart, but each of them is nearly level. On the left they coincide.


def gradient_sizes(model: nn.Sequential) -> np.ndarray:
    """Return the root mean square of each weight's gradient, from the first layer to the last."""
    y = model(x)
    model.backward(np.random.default_rng(2).standard_normal(y.shape, dtype=np.float32))
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    return np.array([np.sqrt(np.mean(layer.weight.grad**2)) for layer in linear])


gradients = {key: gradient_sizes(model) for key, model in models.items()}

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
layers = np.arange(1, DEPTH + 1)
for size, norm in models:
    style = {
        "color": COLORS[size],
        "linestyle": "-" if norm else "--",
        "marker": "o" if norm else "s",
        "markersize": 4,
        "label": f"{size}, {'batch norm' if norm else 'none'}",
    }
    left.semilogy(layers, [y.std() for y in found[size, norm]], **style)
    right.semilogy(layers, gradients[size, norm], **style)
left.set(xlabel="layer", ylabel="standard deviation", title="what comes out of each tanh")
right.set(xlabel="layer", ylabel="root mean square", title="gradient of each layer's weights")
figure.legend(
    *right.get_legend_handles_labels(),
    title="weights, normalization",
    loc="outside right center",
    fontsize=8,
    title_fontsize=8,
)

growth = {key: sizes[0] / sizes[-1] for key, sizes in gradients.items()}  # first over last layer
for (size, norm), ratio in growth.items():
    print(f"{size:5} weights, {'batch norm' if norm else 'none      '}: {ratio:.2g}")
assert growth["large", False] > 20
assert max(growth[size, True] for size in SCALES) < 3
