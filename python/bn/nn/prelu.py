"""`PReLU`: a leaky ReLU whose slopes train."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn._core import core
from bn.module import Elementwise
from bn.nn.blocks import elementwise
from bn.parameter import Parameter
from bn.types import Array, Shape


class PReLU(Elementwise):
    r"""y = x where x > 0, otherwise weight * x, with one slope for all channels or one for each.

    The gradient of a slope is :math:`\sum_{x \le 0} x \, dy`, over the values of its channel.

    Parameters
    ----------
    num_parameters : int
        1, or the number of channels.
    init : float
        The first value of all slopes.
    dtype : dtype_like
        The dtype of the slopes, float32 or float64.
    axis : int
        The axis of the channels, if `num_parameters` is not 1; PyTorch's is 1.

    Attributes
    ----------
    weight : Parameter, shape (num_parameters,)

    Raises
    ------
    ValueError
        `num_parameters` is not a positive integer, or `init` is not a finite number. On a call: x
        has another number of channels.
    TypeError
        `axis` is not an integer, or `dtype` is another one.

    See Also
    --------
    LeakyReLU : With a slope that does not train.

    References
    ----------
    torch.nn.PReLU. He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015.

    Examples
    --------
    >>> prelu = PReLU(2)
    >>> prelu(np.array([[-4.0, 1.0], [2.0, -8.0]]))
    array([[-1.,  1.],
           [ 2., -2.]])
    >>> prelu.backward(np.ones((2, 2))), prelu.weight.grad
    (array([[0.25, 1.  ],
           [1.  , 0.25]]), array([-4., -8.], dtype=float32))
    """

    kept_names = ("x", "weight")

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        *,
        dtype: DTypeLike = np.float32,
        axis: int = 1,
    ) -> None:
        _check.positive_int("num_parameters", num_parameters)
        _check.finite("init", init)
        _check.integer("axis", axis)
        self.num_parameters, self.axis = num_parameters, axis
        self.weight = Parameter(np.full(num_parameters, init, _check.floating_dtype(dtype)))

    def output_shape(self, input_shape: Shape) -> Shape:
        if self.num_parameters > 1:
            _check.unbatched_channels(input_shape, self.axis, self.num_parameters)
        return input_shape

    def forward(self, x: Array) -> Array:
        _check.floating("x of PReLU", x)
        slope = np.array(self.weight.data, x.dtype)  # as it is now; backward needs it
        y = core.prelu(x, x, slope, self._channel_axis(x))
        self.keep(y, x, slope)
        return y

    def backward(self, dy: Array) -> Array:
        x, slope = self.take(dy)
        axis = self._channel_axis(x)
        if self.trains(self.weight):
            self.weight.accumulate(self._slope_gradient(dy, x, axis), copy=False)
        return core.prelu(dy, x, slope, axis)

    def _channel_axis(self, x: Array) -> int:
        """The axis of the channels, counted from the front; with one slope, it does not matter."""
        if self.num_parameters == 1:
            return 0
        axis = _check.has_axis("PReLU", self.axis, x.shape)
        _check.channel_count("PReLU", x, self.axis, self.num_parameters)
        return axis

    def _slope_gradient(self, dy: Array, x: Array, axis: int) -> Array:
        if x.size == 0:
            return np.zeros_like(self.weight.data)
        below = elementwise(_negative_part, x)
        if self.num_parameters == 1:
            dy, below = (a[:, None] for a in core.runs(dy, below))
            axis = 1
        # Σ dy (x - mean) of the normalization, with the mean 0
        gradient = core.reduce(dy, below, axis, np.zeros(self.num_parameters))[1]
        return gradient.astype(self.weight.dtype)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


def _negative_part(x: Array, out: Array) -> None:
    np.minimum(x, 0, out=out)
