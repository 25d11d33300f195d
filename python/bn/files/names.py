"""Names of arrays in states, in one spelling for PyTorch's and Keras's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

# Keras's words, and those that PyTorch and `bn` have for the same.
PARTS = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "embeddings": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
KERNELS = ("kernel", "depthwise_kernel")


class Spelling(NamedTuple):
    """A name in the common spelling.

    Attributes
    ----------
    layer : str
        All but the last part, with dots.
    part : str
        The last part in PyTorch's word, or a number.
    keras : bool
        Whether the name tells that a kernel has Keras's order of axes.
    """

    layer: str
    part: str
    keras: bool

    @property
    def whole(self) -> str:
        return f"{self.layer}.{self.part}" if self.layer else self.part


def spelled(name: str) -> Spelling:
    """A name in the common spelling.

    Examples
    --------
    >>> spelled("layers/conv2d_1/vars/0"), spelled("conv2d/kernel:0").whole
    (Spelling(layer='layers.conv2d_1', part='0', keras=True), 'conv2d.weight')
    """
    *outer, last = re.split(r"[./]", re.sub(r":\d+$", "", name))
    keras = last in KERNELS
    if outer and outer[-1] == "vars" and last.isdigit():
        outer, keras = outer[:-1], True
    return Spelling(".".join(outer), PARTS.get(last, last), keras)


def layer_order(layers: Sequence[str]) -> list[str] | None:
    """Layers in the order of the numbers in their names; None if they differ in more than these.

    Examples
    --------
    >>> layer_order(["layers.dense_10", "layers.dense", "layers.dense_9"])
    ['layers.dense', 'layers.dense_9', 'layers.dense_10']
    >>> layer_order(["stem", "head"])
    """
    keys = {layer: [_numbered(part) for part in layer.split(".")] for layer in layers}
    if len({tuple(base for base, _ in key) for key in keys.values()}) > 1:
        return None
    return sorted(layers, key=lambda layer: [number for _, number in keys[layer]])


def _numbered(part: str) -> tuple[str, int]:
    """The name before a number at the end, and the number, which is 0 if there is none."""
    found = re.fullmatch(r"(.*?)(?:_?(\d{1,18}))?", part)
    assert found is not None
    return found[1], int(found[2] or 0)
