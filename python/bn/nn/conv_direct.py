"""Convolution by compiled kernels, which multiply the images themselves: no matrix is made.

`bn.nn.conv_strategy.Strategy` describes the arguments.
"""

from __future__ import annotations

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
    bias = None if bias is None else np.ascontiguousarray(bias)
    residual = None if residual is None else _aligned(residual)
    epilogue: tuple[Any, ...] = (residual, *epilogue_of(*(activation or (None, 0.0))))
    if pooling is not None:
        size = window.output_size("Conv2d", (x.shape[2], x.shape[3]))
        epilogue += (size, pooling.kernel, positions)
    images, weight = _aligned(x), np.ascontiguousarray(weight)
    core.convolve(images, weight, bias, y, *_steps(window), allowed(x.dtype), *epilogue)


def convolve_backward(
    x: Array, weight: Array, window: Window, dy: Array, dx: Array | None, dbias: Array | None
) -> Array:
    """Compute dx and dbias and return the gradient of the weight."""
    if dx is not None:
        convolve_dx(weight, window, dy, dx)
    return convolve_dweight(x, weight.shape, window, dy, dbias)


def convolve_dx(weight: Array, window: Window, dy: Array, dx: Array) -> None:
    """Compute dx."""
    core.convolve_dx(
        _aligned(dy), np.ascontiguousarray(weight), dx, *_steps(window), allowed(dy.dtype)
    )


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
