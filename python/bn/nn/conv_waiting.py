"""`Convolution`: a convolved output that waits for an addition, an activation, a pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bn._core import core
from bn.images import channels_first
from bn.nn import conv_direct
from bn.nn.conv_strategy import strategy
from bn.nn.memory_order import empty_channels_last
from bn.nn.window import Window
from bn.nn.winograd import allowed, winograd
from bn.recording.waiting import Joinable, MaxPooling
from bn.types import Array, Shape

if TYPE_CHECKING:
    from bn.nn.conv import Conv2d


class Convolution(Joinable):
    """What a convolution returns where its output waits.

    Parameters
    ----------
    layer : Conv2d
    x : ndarray
        The images.
    shape : tuple of int
        Of the output.
    """

    def __init__(self, layer: Conv2d, x: Array, shape: Shape) -> None:
        super().__init__(x, shape, layer.axis % 4)
        self.layer = layer
        # as they are at the call; only what is written into the arrays later is seen
        self._parameters, self._winograd = layer.parameters_as(x.dtype), allowed(x.dtype)

    def how(self) -> str:
        return "kernels" if strategy() is conv_direct else "matrix products"

    def joins(self) -> bool:
        layer = self.layer
        depthwise = layer.groups == layer.in_channels == layer.out_channels
        return strategy() is conv_direct and (layer.groups == 1 or depthwise)

    def pools(self, pooling: MaxPooling) -> bool:
        return pooling.side_by_side

    def array(self) -> Array:
        if self._winograd == allowed(self.dtype):
            return self._array()
        with winograd(self._winograd):
            return self._array()

    def prepared(self) -> Callable[..., Array]:
        if strategy() is not conv_direct or self.x.size == 0:
            return super().prepared()
        shape, dtype, window = self.shape, self.dtype, self._window()
        x, own = self._nchw(self.x), self._nchw(self._empty(self.own_shape, dtype))
        parts = (self.activation, self.pooling)
        with winograd(self._winograd):
            into = conv_direct.prepared(x, *self._parameters, window, own, *parts)
        empty, nchw = self._empty, self._nchw

        def output(x: Array, residual: Array | None = None) -> Array:
            y = empty(shape, dtype)
            into(nchw(x), nchw(y), None if residual is None else nchw(residual))
            return y

        return output

    def _array(self) -> Array:
        y = self._empty(self.shape, self.dtype)
        parameters = (*self._parameters, self._window())
        if self.residual is None and self.activation is None and self.pooling is None:
            strategy().convolve(self._nchw(self.x), *parameters, self._nchw(y))
            return y
        self.y = y
        if self.pooling is not None:
            self.positions = self._empty(self.shape, np.uint8)
        conv_direct.convolve(
            self._nchw(self.x),
            *parameters,
            self._nchw(y),
            None if self.residual is None else self._nchw(self.residual),
            self.activation,
            self.pooling,
            None if self.positions is None else self._nchw(self.positions),
        )
        return y

    def backward(self, dy: Array, wanted: bool) -> Sequence[Array | None]:
        g = self.before_activation(dy)
        if self.pooling is not None:
            g = self.before_pooling(g, self._empty(self.own_shape, self.dtype))
        dx = self.layer.gradients(self.x, g, wanted)
        assert not isinstance(dx, tuple)
        return self.gradients(dx, g)

    def _window(self) -> Window:
        images = self._nchw(self.x)
        return self.layer.window_on((images.shape[2], images.shape[3]))

    def _nchw(self, images: Array) -> Array:
        return channels_first(images, self.axis)

    def _empty(self, shape: Shape, dtype: Any) -> Array:
        """Images that lie channels-last in memory."""
        return empty_channels_last(shape, dtype) if self.axis == 1 else core.empty(shape, dtype)
