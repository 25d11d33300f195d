"""`Linear`: the fully connected layer."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.module import Module
from bn.nn.init import Rng, weight_and_bias
from bn.types import Array, Gradient, Shape


class Linear(Module):
    r"""The affine map :math:`y = x W^T + b` of the last axis.

    Parameters
    ----------
    in_features, out_features : int
        Lengths of the last axis of x and of y.
    bias : bool
        Whether to add b.
    dtype : dtype_like
        The dtype of the parameters, float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws the parameters from U(-b, b), where
        b = 1 / sqrt(in_features).

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
    bias : Parameter or None, shape (out_features,)

    Raises
    ------
    ValueError
        A size is not a positive integer.

    References
    ----------
    torch.nn.Linear.

    Examples
    --------
    >>> layer = Linear(4, 2, rng=0)
    >>> layer(np.ones((3, 4), np.float32)).shape
    (3, 2)
    >>> layer
    Linear(in_features=4, out_features=2, bias=True)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        _check.positive_int("in_features", in_features)
        _check.positive_int("out_features", out_features)
        self.in_features, self.out_features = in_features, out_features
        shape = (out_features, in_features)
        self.weight, self.bias, self.dtype = weight_and_bias(rng, shape, bias, dtype)

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.feature_count("Linear", input_shape, self.in_features)
        return (*input_shape[:-1], self.out_features)

    def forward(self, x: Array) -> Array:
        _check.floating("x", x)
        out = self.output_shape(x.shape)
        weight = self.weight.data.astype(x.dtype, copy=False)
        y: Array = np.matmul(_rows(x), weight.T)  # (places, out_features)
        if self.bias is not None:
            y += self.bias.data.astype(x.dtype, copy=False)
        y = y.reshape(out)
        self.keep(y, x)
        return y

    def backward(self, dy: Array, input_grad: bool = True) -> Gradient:
        """The gradient of x, or None with ``input_grad=False``; those of the parameters are added.

        Parameters
        ----------
        dy : ndarray
            The gradient of the output.
        input_grad : bool
            False leaves the gradient of x out.

        Returns
        -------
        ndarray or None
        """
        (x,) = self.take(dy)
        dy = _rows(dy)
        self.weight.accumulate(dy.T @ _rows(x))
        if self.bias is not None:
            self.bias.accumulate(dy.sum(axis=0))
        if not input_grad:
            return None
        dx: Array = dy @ self.weight.data.astype(x.dtype, copy=False)
        return dx.reshape(x.shape)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


def _rows(a: Array) -> Array:
    return a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
