"""Several axes taken together as channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bn import _check
from bn.layers.batch_norm import BatchNorm
from bn.module import Module
from bn.types import Array, Shape


class FeatureAxes(Module):
    """Batch normalization in which each combination of indices on some axes is a channel.

    As Flax's ``BatchNorm(axis=(1, 2))``: there are statistics and parameters for each combination,
    over all other axes. The layer inside sees these axes as one last axis, in the order of `axes`.

    Parameters
    ----------
    layer : BatchNorm
        With ``axis=-1``, and as many channels as there are combinations (or None yet).
    axes : int or sequence of int
        The axes of x.

    Raises
    ------
    TypeError, ValueError
        `layer` is no batch normalization with ``axis=-1``, or an axis is given twice or not in x.

    Examples
    --------
    >>> import bn
    >>> layer = FeatureAxes(bn.preset("flax"), axes=(1, 2))
    >>> layer(np.ones((20, 3, 4, 5), np.float32)).shape, layer.layer.num_features
    ((20, 3, 4, 5), 12)
    """

    def __init__(self, layer: BatchNorm, axes: int | Sequence[int]) -> None:
        _check.instance("layer", layer, BatchNorm)
        _check.last_axis_layer(layer.axis)
        self.layer = layer
        each = axes if isinstance(axes, (tuple, list)) else (axes,)
        self.axes = tuple(_check.integer("every axis", axis) for axis in each)

    def _flat(self, x: Array) -> tuple[Array, tuple[int, ...], tuple[int, ...]]:
        """View x as (..., C); the axes in front, and the shape before they are taken together."""
        _check.plain_array("x of FeatureAxes", x)
        axes = _check.axes_of(self.axes, x.ndim)
        moved = np.moveaxis(x, axes, range(-len(axes), 0))
        others, channels = moved.shape[: -len(axes)], moved.shape[-len(axes) :]
        return moved.reshape(*others, math.prod(channels)), axes, moved.shape

    def _back(self, flat: Array, axes: tuple[int, ...], shape: tuple[int, ...]) -> Array:
        return np.moveaxis(flat.reshape(shape), range(-len(axes), 0), axes)

    def forward(self, x: Array, *, mask: Array | None = None, **options: Any) -> Array:
        """As the layer's; a mask must broadcast to x."""
        flat, axes, shape = self._flat(x)
        if mask is not None:
            _check.spreads("mask", mask, x.shape)
            mask = self._flat(np.broadcast_to(mask, x.shape))[0]
        y = self._back(self.layer(flat, mask=mask, **options), axes, shape)
        self.keep(y, axes, shape)
        return y

    def backward(self, dy: Array) -> Array:
        axes, shape = self.take(dy)
        return self._back(self.layer.backward(self._flat(dy)[0]), axes, shape)

    def _flat_shape(self, input_shape: Shape) -> Shape:
        shape = _check.shape_tuple("input_shape", input_shape)
        axes = _check.axes_of(self.axes, len(shape) + 1)
        _check.no_batch_axis(axes)
        others = [n for i, n in enumerate(shape, 1) if i not in axes]
        return (*others, math.prod(shape[axis - 1] for axis in axes))

    def output_shape(self, input_shape: Shape) -> Shape:
        self.layer.output_shape(self._flat_shape(input_shape))
        return input_shape

    def build(self, input_shape: Shape) -> None:
        self.layer.build(self._flat_shape(input_shape))

    def extra_repr(self) -> str:
        return f"axes={self.axes}"
