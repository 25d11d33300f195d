"""The operations on values of a recorded forward: each with the gradients of its operands.

Each function returns y and a function from dy to the gradients of the operands, in their order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from bn._core import core
from bn.types import Array, Shape

Gradients = Callable[[Array], Sequence[Array]]
Result = tuple[Array, Gradients]


def add(a: Array, b: Array) -> Result:
    """A + b, of shapes that broadcast."""
    if _alike(a, b):
        return core.add(a, b), lambda dy: (dy, dy)
    a_like, b_like = _Like(a), _Like(b)
    return a + b, lambda dy: (a_like.sum(dy), b_like.sum(dy))


def subtract(a: Array, b: Array) -> Result:
    """A - b, of shapes that broadcast."""
    a_like, b_like = _Like(a), _Like(b)
    return a - b, lambda dy: (a_like.sum(dy), -b_like.sum(dy))


def multiply(a: Array, b: Array) -> Result:
    """A * b, of shapes that broadcast."""
    a_like, b_like = _Like(a), _Like(b)
    return a * b, lambda dy: (a_like.sum(dy * b), b_like.sum(dy * a))


def divide(a: Array, b: Array) -> Result:
    """A / b, of shapes that broadcast."""
    a_like, b_like = _Like(a), _Like(b)
    y = a / b
    return y, lambda dy: (a_like.sum(dy / b), b_like.sum(-dy * y / b))


def negative(a: Array) -> Result:
    """-a."""
    return -a, lambda dy: (-dy,)


def reshape(a: Array, shape: Shape) -> Result:
    """The values in C order in another shape."""
    whole = core.contiguous(a) if a.ndim == 4 else a
    return whole.reshape(shape), lambda dy: (core.in_order_of(dy.reshape(a.shape), a),)


def transpose(a: Array, axes: Sequence[int]) -> Result:
    """The axes in another order; a view."""
    back = np.argsort(axes)
    return a.transpose(axes), lambda dy: (dy.transpose(back),)


def mean(a: Array, axes: tuple[int, ...], keepdims: bool) -> Result:
    """The mean over some axes, summed in float64."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(a.shape))
    count = math.prod(a.shape[i] for i in axes)
    if axes == (2, 3) and a.ndim == 4 and count:
        y = core.empty(kept, a.dtype, a)
        size = (a.shape[2], a.shape[3])
        core.pool_mean(np.require(a, requirements="A"), y, size, size, (0, 0), True)
    else:
        y = a.mean(axes, dtype=np.float64, keepdims=True).astype(a.dtype)
    shape = kept if keepdims else tuple(n for i, n in enumerate(a.shape) if i not in axes)

    def gradients(dy: Array) -> Sequence[Array]:
        dx = core.empty(a.shape, a.dtype, a)
        np.divide(dy.reshape(kept), dy.dtype.type(count), out=dx)
        return (dx,)

    return y.reshape(shape), gradients


def part(a: Array, index: Any) -> Result:
    """a[index], of integers, slices and the like; a view."""

    def gradients(dy: Array) -> Sequence[Array]:
        dx = core.empty(a.shape, a.dtype, a)
        dx[...] = 0
        dx[index] = dy
        return (dx,)

    return a[index], gradients


def concatenate(*arrays: Array, axis: int) -> Result:
    """Arrays of one shape, but for one axis, along this axis."""
    bounds = list(accumulate((a.shape[axis] for a in arrays), initial=0))
    shape = list(arrays[0].shape)
    shape[axis] = bounds[-1]
    y = core.empty(tuple(shape), np.result_type(*arrays), arrays[0])
    np.concatenate(arrays, axis, out=y)
    dtypes = [a.dtype for a in arrays]

    def gradients(dy: Array) -> Sequence[Array]:
        before = (slice(None),) * axis
        parts = (dy[(*before, slice(*ends))] for ends in pairwise(bounds))
        return [p.astype(dtype, copy=False) for p, dtype in zip(parts, dtypes, strict=True)]

    return y, gradients


def _alike(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.dtype.kind == "f"


class _Like:
    """The shape and dtype of an operand, which its gradient has."""

    def __init__(self, a: Array) -> None:
        self.shape, self.dtype = a.shape, a.dtype

    def sum(self, dy: Array) -> Array:
        """Of dy, over the axes along which the operand was repeated."""
        if dy.shape != self.shape:
            ahead = dy.ndim - len(self.shape)
            repeated = (i + ahead for i, n in enumerate(self.shape) if n == 1)
            axes = (*range(ahead), *repeated)
            dy = dy.sum(axes, dtype=np.float64, keepdims=True).reshape(self.shape)
        return dy.astype(self.dtype, copy=False)
