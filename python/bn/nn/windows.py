"""The windows of a pool: where each place of the kernel meets the image, for which outputs."""

from __future__ import annotations

import numpy as np

from bn import _check
from bn.module import Array, Module, Shape
from bn.nn.conv_im2col import Pair, Window


class Pool2d(Module):
    """What the pools share: windows on the two image axes, given by `axis`, the channel axis."""

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        *,
        axis: int = 1,
    ) -> None:
        _check.channel_axis(axis)
        self._kernel = _check.pair("kernel_size", kernel_size, 1)
        self._stride = self._kernel if stride is None else _check.pair("stride", stride, 1)
        self._padding = _check.pair("padding", padding, 0)
        _check.pool_padding(self._padding, self._kernel)
        self.kernel_size, self.padding, self.axis = kernel_size, padding, axis
        self.stride = kernel_size if stride is None else stride

    def output_shape(self, input_shape: Shape) -> Shape:
        name = type(self).__name__
        _check.image_shape(name, input_shape, self.axis)
        size = input_shape[1:] if self.axis == 1 else input_shape[:2]
        window = Window(self._kernel, self._stride, self._padding, self._padding)
        out = window.output_size(name, (size[0], size[1]))
        return (input_shape[0], *out) if self.axis == 1 else (*out, input_shape[2])

    def _combine(self, x: Array, ufunc: np.ufunc, initial: float) -> Array:
        """The sum or maximum of each window, along one image axis after the other."""
        out = self.output_shape(x.shape[1:])
        for k in (0, 1):
            axis = k + (2 if self.axis == 1 else 1)
            before = (slice(None),) * axis
            shape = (*x.shape[:axis], out[axis - 1], *x.shape[axis + 1 :])
            y: Array = np.full(shape, initial, x.dtype)
            for tap, part in self._ranges(k, x.shape[axis], out[axis - 1]):
                ufunc(y[(*before, part)], x[(*before, tap)], out=y[(*before, part)])
            x = y
        return x

    def _taps(self, x: Array, y: Array) -> list[tuple[Array, tuple[slice, ...]]]:
        """For each place of the kernel, in order: the view of x it meets, and its part of y."""
        first = 2 if self.axis == 1 else 1  # the axis of the height
        ranges = [self._ranges(k, x.shape[first + k], y.shape[first + k]) for k in (0, 1)]
        all_before = (slice(None),) * first
        return [
            (x[(*all_before, row, column)], (*all_before, y_row, y_column))
            for row, y_row in ranges[0]
            for column, y_column in ranges[1]
        ]

    def _ranges(self, k: int, size: int, out: int) -> list[tuple[slice, slice]]:
        """Along one image axis, for each tap: where it meets x, and for which outputs."""
        kernel, stride, padding = self._kernel[k], self._stride[k], self._padding[k]
        ranges = []
        for tap in range(kernel):
            start = -((tap - padding) // stride) if tap < padding else 0
            stop = max(start, min(out, (size - 1 + padding - tap) // stride + 1))
            first = start * stride + tap - padding
            last = first + (stop - start) * stride
            ranges.append((slice(first, max(first, last - stride + 1), stride), slice(start, stop)))
        return ranges
