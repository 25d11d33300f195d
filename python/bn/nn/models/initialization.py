"""The initial weights of the models: those of torchvision."""

from __future__ import annotations

import numpy as np

from bn.module import Module
from bn.nn.conv import Conv2d
from bn.nn.linear import Linear
from bn.parameter import Parameter


def initialize(model: Module, rng: np.random.Generator, linear_std: float | None = None) -> None:
    """Draw the weights of all convolutions anew, and those of linear layers if that is asked for.

    The weights of convolutions come from a normal distribution with the variance 2 / (out_channels
    * kh * kw), which is PyTorch's kaiming_normal_ with ``mode="fan_out"``. Their biases become 0.

    Parameters
    ----------
    model : Module
    rng : Generator
    linear_std : float or None
        Draw the weights of linear layers with this standard deviation, and set their biases to 0.
        None leaves them as they are.

    References
    ----------
    He et al., "Delving deep into rectifiers", 2015.

    Examples
    --------
    >>> conv = Conv2d(8, 50, 3, rng=0)
    >>> initialize(conv, np.random.default_rng(0))
    >>> bool(abs(conv.weight.data.std() / (2 / (50 * 9)) ** 0.5 - 1) < 0.05)
    True
    """
    for layer in model.modules():
        if isinstance(layer, Conv2d):
            height, width = layer.kernel_size
            std = (2 / (layer.out_channels * height * width)) ** 0.5
            _draw(layer.weight, layer.bias, rng, std)
        elif isinstance(layer, Linear) and linear_std is not None:
            _draw(layer.weight, layer.bias, rng, linear_std)


def _draw(weight: Parameter, bias: Parameter | None, rng: np.random.Generator, std: float) -> None:
    weight.data[...] = rng.normal(0, std, weight.shape)
    if bias is not None:
        bias.data[...] = 0
