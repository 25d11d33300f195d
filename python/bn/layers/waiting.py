"""`Normalization`: a normalized output that waits for an addition, an activation, a pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bn._core import core
from bn.functional import epilogue_of
from bn.images import channels_first, channels_last
from bn.recording.waiting import Joinable, MaxPooling
from bn.statistics import BackwardSums, trusted
from bn.types import Array, Doubles

if TYPE_CHECKING:
    from bn.layers.batch_norm import BatchNorm, Call


class Normalization(Joinable):
    """What a batch normalization returns where its output waits. The statistics are known.

    Normalization with an activation is monotone. So a max pooling behind it takes the largest x of
    each window, or the smallest where the weight is negative, and only these are normalized. Only
    they have a gradient, and enter the sums of the backward pass.

    Parameters
    ----------
    layer : BatchNorm
    call : Call
        What normalizes x, without weights of values and without a correction.
    """

    def __init__(self, layer: BatchNorm, call: Call) -> None:
        super().__init__(call.x, call.x.shape, call.axis)
        self.layer, self.call = layer, call
        # copies, because what waits must not see parameters that change after the call
        weight, bias = layer.affine_arrays()
        self._weight = None if weight is None else weight.copy()
        self._bias = None if bias is None else bias.copy()
        self._pooled: Array | None = None  # the values of x that a pooling takes

    def how(self) -> str:
        return "running statistics" if self.call.batch is None else "batch statistics"

    def extra_bytes(self) -> int:
        again = 0 if self.call.batch is None else self.x.nbytes  # read for the statistics
        pooled = 0 if self.pooling is None else 2 * math.prod(self.shape) * self.x.itemsize
        return super().extra_bytes() + again + pooled

    def pools(self, pooling: MaxPooling) -> bool:
        images = channels_last(self.x, self.axis)
        dense = images.flags.c_contiguous and images.flags.aligned
        return dense and images.shape[3] > 1 and self.residual is None

    def array(self) -> Array:
        x = self.x
        if self.pooling is not None:
            x = self._pooled = self._pool(self.pooling)
        if x.size == 0:
            self.y = core.empty_like(x)
            return self.y
        y = core.normalize(x, *self._constants(), None, self.residual, *self._epilogue())
        if self.residual is not None or self.pooling is not None or self.call.batch is None:
            self.y = y
        return y

    def _pool(self, pooling: MaxPooling) -> Array:
        sign = np.ones(self.x.shape[self.axis]) if self._weight is None else np.sign(self._weight)
        if self._bias is not None:
            sign = np.where(np.isnan(self._bias), np.nan, sign)  # then every y is NaN
        values = core.empty(self.shape, self.dtype, self.x)
        self.positions = core.empty(self.shape, np.uint8, self.x)
        x, y, places = (channels_first(a, self.axis) for a in (self.x, values, self.positions))
        core.pool_extreme(x, sign.astype(self.dtype), y, places, *pooling[:3])
        return values

    def _constants(self) -> tuple[int, Array, Array, Array | None, Array | None, float]:
        call = self.call
        return call.axis, call.mean, call.var, self._weight, self._bias, call.eps

    def _epilogue(self) -> tuple[int, float]:
        return epilogue_of(*(self.activation or (None, 0.0)))

    # ---- backward ----

    def backward(self, dy: Array, wanted: bool) -> Sequence[Array | None]:
        call, layer = self.call, self.layer
        if call.batch is None or self.x.size == 0:
            g = self.before_activation(dy)
            dx, sums = layer.gradient(self._before_pooling(g), call)
        else:
            adds = self.residual is not None and self.activation is not None
            g = core.empty_like(self.x) if adds else dy
            if self.pooling is None:
                found = self._gradient(dy, call.batch.count, g if adds else None)
            else:
                found = self._gradient_of_pooled(dy, call.batch.count)
            dx, sum_dy, sum_dy_xmu = found
            sums = trusted(BackwardSums, count=call.batch.count, dy=sum_dy, dy_xmu=sum_dy_xmu)
        layer.add_gradients(*layer.affine_gradients(call, sums))
        return self.gradients(dx, g)

    def _gradient(
        self, dy: Array, count: Doubles, g: Array | None
    ) -> tuple[Array, Doubles, Doubles]:
        """Find dx and its sums; g receives the gradient of what was activated."""
        y = None if self.residual is None else self.y
        return core.backward(dy, self.x, *self._constants(), count, None, y, g, *self._epilogue())

    def _gradient_of_pooled(self, dy: Array, count: Doubles) -> tuple[Array, Doubles, Doubles]:
        """Find dx, and the sums over the values that the pooling took."""
        assert self.pooling is not None and self.positions is not None and self._pooled is not None
        constants, epilogue = self._constants(), self._epilogue()
        sums = core.reduce(dy, self._pooled, *constants, None, *epilogue)
        if not self.pooling.side_by_side:
            g = self._before_pooling(self.before_activation(dy))
            return core.gradient(g, self.x, *constants, count, *sums), *sums
        positions = channels_last(self.positions, self.axis)
        dy = np.require(channels_last(dy, self.axis), requirements=["C", "A"])
        kernel = self.pooling.kernel
        dx = core.gradient_pooled(
            dy, positions, self.x, *constants, count, *sums, *epilogue, kernel
        )
        return dx, *sums

    def _before_pooling(self, g: Array) -> Array:
        return g if self.pooling is None else self.before_pooling(g, core.empty_like(self.x))
