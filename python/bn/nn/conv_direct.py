"""Convolution by compiled kernels, which multiply the images themselves: no matrix is made.

`bn.nn.conv_strategy.Strategy` describes the arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bn._core import core
from bn.functional import epilogue_of
from bn.nn.window import Window
from bn.nn.winograd import allowed
from bn.recording.waiting import Activation, MaxPooling
from bn.types import Array, Shape

# Without vectors or fused multiply-adds, the matrix products of NumPy's BLAS are faster.
FAST = core.has_vectors() and core.selected_isa() != "baseline"


def convolve(
    x: Array,
    weight: Array,
    bias: Array | None,
    window: Window,
    y: Array,
    residual: Array | None = None,
    activation: Activation | None = None,
    pooling: MaxPooling | None = None,
    positions: Array | None = None,
) -> None:
    """Compute ``y = pooled(activation(convolution + residual))``, each of the three if it is given.

    Parameters
    ----------
    residual : ndarray, optional
        Of the shape of the convolution.
    activation : Activation, optional
    pooling : MaxPooling, optional
        Its windows lie side by side.
    positions : ndarray of uint8, optional
        With a pooling: receives the number of each maximum in its window.
    """
    weight, bias = _contiguous(weight, bias)
    after = _epilogue(x, window, activation, pooling)
    residual = None if residual is None else _aligned(residual)
    how = (*_steps(window), allowed(x.dtype), residual, positions, *after)
    core.convolve(_aligned(x), weight, bias, y, *how)


def prepared(
    x: Array,
    weight: Array,
    bias: Array | None,
    window: Window,
    own: Array,
    activation: Activation | None = None,
    pooling: MaxPooling | None = None,
) -> Callable[..., None]:
    """`convolve` as a function of x, y and perhaps a residual, which arranges the weight but once.

    Parameters
    ----------
    x, own : ndarray
        The function gets an x like this one; the convolution itself is like `own`.
    """
    weight, bias = _contiguous(weight, bias)
    how = (*_steps(window), allowed(x.dtype))
    packed = core.pack_weight(_aligned(x), weight, own, *how)
    after = (*_epilogue(x, window, activation, pooling), packed)

    def into(x: Array, y: Array, residual: Array | None = None) -> None:
        residual = None if residual is None else _aligned(residual)
        core.convolve(_aligned(x), weight, bias, y, *how, residual, None, *after)

    return into


def _contiguous(weight: Array, bias: Array | None) -> tuple[Array, Array | None]:
    return np.ascontiguousarray(weight), None if bias is None else np.ascontiguousarray(bias)


def _epilogue(
    x: Array, window: Window, activation: Activation | None, pooling: MaxPooling | None
) -> tuple[Any, ...]:
    """The activation and its slope; the size of the convolution, and the windows that pool it."""
    what = epilogue_of(*(activation or (None, 0.0)))
    if pooling is None:
        return (*what, None, None)
    size = window.output_size("Conv2d", (x.shape[2], x.shape[3]))
    return (*what, size, pooling.kernel)


def convolve_backward(
    x: Array, weight: Array, window: Window, dy: Array, dx: Array | None, dbias: Array | None
) -> Array:
    """Compute dx and dbias and return the gradient of the weight."""
    if dx is not None:
        convolve_dx(weight, window, dy, dx)
    return convolve_dweight(x, weight.shape, window, dy, dbias)


def convolve_dx(
    weight: Array, window: Window, dy: Array, dx: Array, bias: Array | None = None
) -> None:
    """Compute dx, plus a bias of its channels if there is one."""
    weight, bias = _contiguous(weight, bias)
    how = (*_steps(window), allowed(dy.dtype))
    core.convolve_dx(_aligned(dy), weight, bias, dx, *how)


def convolve_dweight(
    x: Array, shape: Shape, window: Window, dy: Array, dbias: Array | None
) -> Array:
    """Compute dbias and return the gradient of the weight, which has this shape."""
    dweight: Array = np.empty(shape, x.dtype)
    core.convolve_dweight(
        _aligned(x), _aligned(dy), dweight, dbias, *_steps(window), allowed(x.dtype)
    )
    return dweight


def _aligned(images: Array) -> Array:
    return images if images.flags.aligned else np.require(images, requirements="A")


def _steps(window: Window) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    return window.stride, window.before, window.dilation
