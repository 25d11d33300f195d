"""The networks of the studies, each with any normalization."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

import bn
from bn import nn
from bn.module import Module

GROUPS = 8  # at most


def normalization(
    norm: str, features: int, *, images: bool = True, ghost: int = 16
) -> list[Module]:
    """No layer for "none", or one for `features` on axis 1.

    Parameters
    ----------
    norm : {"batch", "group", "layer", "instance", "renorm", "ghost", "none"}
        Layer normalization of images takes the statistics of all channels and pixels of an image.
        Renormalization is clipped at r = 3 and d = 5, as in its paper.
    features : int
    images : bool
        Whether it gets (N, C, H, W), or (N, C) and (N, C, L).
    ghost : int
        The size of a ghost batch.
    """
    batch = bn.BatchNorm2d if images else bn.BatchNorm1d
    layers: dict[str, Callable[[], Module]] = {
        "batch": lambda: batch(features),
        "group": lambda: bn.GroupNorm(math.gcd(GROUPS, features), features),
        "layer": lambda: bn.GroupNorm(1, features),
        "instance": lambda: bn.GroupNorm(features, features),
        "renorm": lambda: _renorm(features),
        "ghost": lambda: bn.GhostBatchNorm(batch(features), ghost),
    }
    return [] if norm == "none" else [layers[norm]()]


def _renorm(features: int) -> Module:
    layer = bn.BatchNormalization(
        axis=1, epsilon=1e-5, momentum=0.9, renorm=True, renorm_momentum=0.9,
        renorm_clipping={"rmax": 3.0, "rmin": 1 / 3, "dmax": 5.0},
    )  # fmt: skip
    layer.build((features,))
    return layer


def mlp(
    sizes: Sequence[int],
    *,
    norm: str,
    seed: int,
    activation: Callable[[], Module] = nn.ReLU,
    dropout: float = 0.0,
    ghost: int = 16,
    after_activation: bool = False,
) -> Module:
    """Linear layers between the sizes, with normalization, activation and dropout in between."""
    rng = np.random.default_rng(seed)
    layers: list[Module] = [nn.Flatten()]
    for i, (before, after) in enumerate(pairwise(sizes)):
        layers.append(nn.Linear(before, after, rng=rng))
        if i < len(sizes) - 2:
            norms = normalization(norm, after, images=False, ghost=ghost)
            middle: list[Module] = [*norms, activation()]
            layers += middle[::-1] if after_activation else middle
            layers += [nn.Dropout(dropout, rng=rng)] if dropout else []
    return nn.Sequential(*layers)


def cnn(
    shape: tuple[int, ...],
    classes: int,
    *,
    norm: str,
    seed: int,
    channels: Sequence[int] = (16, 32),
    ghost: int = 16,
    after_activation: bool = False,
    pool_every: int = 1,
) -> Module:
    """3 × 3 convolutions with normalization and ReLU, max pooling of 2, and a linear layer.

    The pooling comes after each convolution, or after every second one if `pool_every` is 2.
    """
    rng = np.random.default_rng(seed)
    layers: list[Module] = []
    for i, (before, after) in enumerate(pairwise([shape[0], *channels]), 1):
        middle: list[Module] = [*normalization(norm, after, ghost=ghost), nn.ReLU()]
        layers.append(nn.Conv2d(before, after, 3, padding=1, rng=rng))
        layers += middle[::-1] if after_activation else middle
        layers += [nn.MaxPool2d(2)] if i % pool_every == 0 else []
    layers += [nn.Flatten(), nn.Linear(None, classes, rng=rng)]
    model = nn.Sequential(*layers)
    model.build(shape)
    return model


def small(
    kind: str, shape: tuple[int, ...], classes: int, *, norm: str, seed: int, convolutions: int = 4
) -> Module:
    """A perceptron of 3 × 100 ReLUs ("mlp"), or a CNN of so many convolutions of 16 channels.

    The CNN has a max pooling after each half of its convolutions.
    """
    if kind == "mlp":
        return mlp([math.prod(shape), 100, 100, 100, classes], norm=norm, seed=seed)
    return cnn(
        shape, classes, norm=norm, seed=seed,
        channels=[16] * convolutions, pool_every=convolutions // 2,
    )  # fmt: skip


def draw_weights(model: Module, gain: float, seed: int) -> Module:
    """Draw all weights anew, with a standard deviation of gain / sqrt(inputs); biases become 0.

    A gain of sqrt(2) is He's, which keeps the size of the values behind a ReLU, and a gain of 1
    keeps that of linear layers. A twin with normalization gets the same weights.

    Examples
    --------
    >>> model = draw_weights(nn.Sequential(nn.Linear(400, 100, rng=0)), 2.0, seed=0)
    >>> print(f"{model.parameters()[0].data.std():.1f}")
    0.1
    """
    rng = np.random.default_rng(seed)
    for layer in model.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            weight = layer.weight.data
            weight[:] = gain * weight[0].size ** -0.5 * rng.standard_normal(weight.shape)
            if layer.bias is not None:
                layer.bias.data[:] = 0
    return model
