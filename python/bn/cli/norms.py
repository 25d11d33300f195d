"""The normalizations that `bn train --norm` chooses from."""

from __future__ import annotations

import math

import bn
from bn import nn
from bn.module import Module

# How the network with each of them is called.
NORMS = {
    "batch": "with batch norm",
    "group": "with group norm",
    "layer": "with layer norm",
    "instance": "with instance norm",
    "none": "without batch norm",
}
GROUPS = 8  # at most; the smallest networks have 16 channels


def normalization(norm: str, channels: int, axis: int, *, pixels: bool = True) -> Module | None:
    """One of `NORMS` for `channels` on `axis`, or None where there is none.

    Layer normalization of images takes the statistics of all channels and pixels of an image: it is
    group normalization with one group. Instance normalization takes those of one channel's pixels,
    and leaves nothing of a channel that has no `pixels`: rows of features get none.

    Examples
    --------
    >>> normalization("layer", 16, 1)
    GroupNorm(1, 16, eps=1e-05, affine=True)
    """
    if norm == "batch":
        return bn.BatchNorm2d(channels) if axis == 1 else bn.BatchNormalization(axis=-1)
    if norm == "none" or (norm == "instance" and not pixels):
        return None
    groups = {"group": math.gcd(GROUPS, channels), "layer": 1, "instance": channels}[norm]
    return bn.GroupNorm(groups, channels, axis=axis)


def replace_batch_norm(model: Module, norm: str) -> None:
    """Put one of `NORMS` in the place of each batch normalization of a model."""
    for layer in list(model.modules()):
        for name, child in list(layer.children()):
            if isinstance(child, bn.BatchNorm2d) and norm != "batch":
                assert child.num_features is not None  # since known models say their channels
                new = normalization(norm, child.num_features, 1)
                layer.replace_child(name, nn.Identity() if new is None else new)
