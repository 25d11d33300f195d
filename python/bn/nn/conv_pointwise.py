"""1×1 convolutions with stride 1: products of the images themselves, without columns."""

from __future__ import annotations

import numpy as np

from bn.module import Array


def _maps(a: Array, groups: int) -> Array:
    n, c, h, w = a.shape
    return a.reshape(n, groups, c // groups, h * w)


def convolve(x: Array, weight: Array, bias: Array | None, y: Array) -> None:
    """Fill y, (N, O, H, W), from contiguous x, (N, C, H, W), and weight, (G, O/G, C/G)."""
    np.matmul(weight, _maps(x, len(weight)), out=_maps(y, len(weight)))
    if bias is not None:
        y += bias[:, None, None]


def convolve_backward(x: Array, weight: Array, dy: Array, dx: Array) -> Array:
    """Fill dx; return the gradient of the weight, (G, C/G, O/G)."""
    groups = len(weight)
    dweight = np.zeros((groups, weight.shape[2], weight.shape[1]), x.dtype)
    dy_maps = _maps(np.ascontiguousarray(dy), groups)
    np.matmul(weight.transpose(0, 2, 1), dy_maps, out=_maps(dx, groups))
    for x_map, dy_map in zip(_maps(x, groups), dy_maps, strict=True):
        dweight += np.matmul(x_map, dy_map.transpose(0, 2, 1))
    return dweight
