"""`WeightStandardization`: a layer whose weight is normalized before each use."""

from __future__ import annotations

import copy

import numpy as np

from bn import _check
from bn.module import Module
from bn.nn.conv import Conv2d
from bn.nn.conv1d import Conv1d
from bn.nn.linear import Linear
from bn.nn.weighted import Weighted
from bn.parameter import Parameter
from bn.rows import Rows
from bn.statistics import Stats
from bn.types import Array, Gradient, Shape


class WeightStandardization(Module):
    """A convolution, or another layer with a weight, whose weight is standardized.

    ``ŵ = (w - mean) / sqrt(var + eps)``, where mean and var (biased) are those of the weights of
    one output channel. It was made to stand before group normalization, where batches are too small
    for batch normalization.

    Parameters
    ----------
    layer : Conv1d, Conv2d or Linear
        The weight that trains is the layer's own.
    eps : float, default 1e-5
        Added to the variance; at least 0.

    Raises
    ------
    TypeError, ValueError
        `layer` is none of these, or eps is below 0.

    References
    ----------
    Qiao, Wang, Liu, Shen & Yuille, "Micro-Batch Training with Batch-Channel Normalization and
    Weight Standardization", 2019.

    Examples
    --------
    >>> import bn
    >>> from bn import nn
    >>> block = nn.Sequential(
    ...     nn.WeightStandardization(nn.Conv2d(3, 8, 3, rng=0)), bn.GroupNorm(4, 8), nn.ReLU()
    ... )
    >>> block(np.ones((1, 3, 5, 5), np.float32)).shape
    (1, 8, 3, 3)
    >>> bool(abs(block[0].standardized().weight.data.mean(axis=(1, 2, 3))).max() < 1e-6)
    True
    """

    kept_names = ("layer", "statistics", "weight")

    def __init__(self, layer: Weighted, eps: float = 1e-5) -> None:
        _check.weight_to_standardize(layer, (Conv1d, Conv2d, Linear))
        _check.eps(eps)
        self.layer, self.eps = layer, eps

    def standardized(self) -> Weighted:
        """A copy of the layer that has the standardized weight as its own."""
        return self._standardized()[0]

    def _standardized(self) -> tuple[Weighted, Stats]:
        weight = self.layer.weight.data
        values, statistics = self._rows(weight).forward(weight, None, None, self.eps)
        layer = copy.copy(self.layer)
        layer.weight, layer.hooks = Parameter(values), ()
        layer.weight.trainable = self.layer.weight.trainable
        return layer, statistics

    def _rows(self, weight: Array) -> Rows:
        return Rows(weight[0].size, axes=tuple(range(1, weight.ndim)))

    def forward(self, x: Array) -> Array:
        """The layer's output for x, with the standardized weight."""
        if not self.layer.built:
            self.layer.build(x.shape[1:])
        layer, statistics = self._standardized()
        y: Array = layer.forward(x)
        self.keep(y, layer, statistics, self.layer.weight.data.copy())
        return y

    def backward(self, dy: Array, input_grad: bool = True) -> Gradient:
        """The gradient of x, or None with ``input_grad=False``; those of the parameters are added.

        Parameters
        ----------
        dy : ndarray
            The gradient of the output.
        input_grad : bool
            False leaves the gradient of x out.

        Returns
        -------
        ndarray or None
        """
        _check.flag("input_grad", input_grad)
        layer, statistics, weight = self.take(dy)
        dx: Gradient = layer.backward(dy, input_grad)
        dweight = layer.weight.grad
        if dweight is not None:
            dweight = np.asarray(dweight, weight.dtype)
            found = self._rows(weight).backward(dweight, weight, statistics, None, None, self.eps)
            self.layer.weight.accumulate(found.dx, copy=False)
        return dx

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.layer.output_shape(input_shape)

    def build(self, input_shape: Shape) -> None:
        self.layer.build(input_shape)

    @property
    def built(self) -> bool:
        return self.layer.built

    def extra_repr(self) -> str:
        return f"eps={self.eps}"
