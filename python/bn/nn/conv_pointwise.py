"""Convolution with a 1 × 1 kernel and stride 1: one matrix product for each image, no copies.

Both functions need contiguous x and dx; `bn.nn.conv_strategy.Strategy` describes their arguments.
"""

from __future__ import annotations

import numpy as np

from bn.nn.window import Window
from bn.types import Array


def convolve(x: Array, weight: Array, bias: Array | None, window: Window, y: Array) -> None:
    """Compute y."""
    matrix = _matrix(weight, x)
    np.matmul(matrix, _maps(x, len(matrix)), out=_maps(y, len(matrix)))
    if bias is not None:
        y += bias[:, None, None]


def convolve_backward(x: Array, weight: Array, window: Window, dy: Array, dx: Array) -> Array:
    """Compute dx and return the gradient of the weight."""
    matrix = _matrix(weight, x)
    groups, outputs, inputs = matrix.shape
    dmatrix = np.zeros((groups, inputs, outputs), x.dtype)
    dy_maps = _maps(np.ascontiguousarray(dy), groups)
    np.matmul(matrix.transpose(0, 2, 1), dy_maps, out=_maps(dx, groups))
    for x_map, dy_map in zip(_maps(x, groups), dy_maps, strict=True):
        dmatrix += np.matmul(x_map, dy_map.transpose(0, 2, 1))
    return dmatrix.transpose(0, 2, 1).reshape(weight.shape)


def _matrix(weight: Array, x: Array) -> Array:
    """The weight as (G, O/G, C/G)."""
    outputs, inputs = weight.shape[:2]
    groups = x.shape[1] // inputs
    return weight.reshape(groups, outputs // groups, inputs)


def _maps(images: Array, groups: int) -> Array:
    """Images as (N, G, C/G, H * W)."""
    n, c, h, w = images.shape
    return images.reshape(n, groups, c // groups, h * w)
