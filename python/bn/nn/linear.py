"""`Linear`: the fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn._core import core
from bn.images import Layout
from bn.nn.init import Rng
from bn.nn.products import input_gradient, outputs, prepared_outputs, weight_gradient
from bn.nn.weighted import Weighted
from bn.types import Array, Gradient, Shape


class Linear(Weighted):
    r"""The affine map :math:`y = x W^T + b` of the last axis.

    Parameters
    ----------
    in_features : int or None
        Length of the last axis of x; None learns it from the first x or from `build`.
    out_features : int
        Length of the last axis of y.
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

    takes_unflattened = True
    kept_names = ("x", "layout", "order", "weight")

    def __init__(
        self,
        in_features: int | None,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        _check.optional_positive_int("in_features", in_features)
        _check.positive_int("out_features", out_features)
        super().__init__(out_features, bias, dtype, rng)
        self.in_features, self.out_features = in_features, out_features
        if in_features is not None:
            self.create((in_features,))

    def build(self, input_shape: Shape) -> None:
        self.output_shape(input_shape)
        if not self.built:
            self.create((input_shape[-1],), in_features=input_shape[-1])

    def output_shape(self, input_shape: Shape) -> Shape:
        _check.feature_count("Linear", input_shape, self.in_features)
        return (*input_shape[:-1], self.out_features)

    def forward(self, x: Array, *, flatten: bool = False) -> Array:
        """The output for x.

        Parameters
        ----------
        x : ndarray, shape (..., in_features)
        flatten : bool
            True if x has axes that are still to be taken together, such as (N, C, H, W). If x does
            not lie in memory in C order, the weight is permuted where that moves fewer values than
            copying x. A model calls the layer so where ``x.flatten(1)`` comes before it.

        Returns
        -------
        ndarray, shape (..., out_features)
        """
        _check.floating("x of Linear", x)
        _check.flag("flatten", flatten)
        shape = (x.shape[0], math.prod(x.shape[1:])) if flatten else x.shape
        out = self.output_shape(shape)
        if not self.built:
            self.build(shape)
        order = self._order(x) if flatten else None
        rows, weight = _rows(x, order), self._weight_in(x, order)
        bias = None if self.bias is None else self.bias.data.astype(x.dtype, copy=False)
        y = outputs(rows, weight, bias).reshape(out)
        self.keep(y, rows, Layout(x), order, weight)
        return y

    def prepared(self, x: Array, *, flatten: bool = False) -> Callable[..., Array]:
        order = _order_in_memory(x) if flatten else None
        weight, bias = self._weight_in(x, order), self.bias
        shift = None if bias is None else bias.data.astype(x.dtype)
        rows = _rows(x, order)
        product = prepared_outputs(weight, shift, len(rows))
        if rows.shape == x.shape:
            return product
        shape = (*(x.shape[:1] if flatten else x.shape[:-1]), self.out_features)
        return lambda x: product(_rows(x, order)).reshape(shape)

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
        _check.flag("input_grad", input_grad)
        rows, layout, order, weight = self.take(dy)
        dy = _rows(dy, None)
        dweight = weight_gradient(dy, rows)
        if order is not None:
            shape = (self.out_features, *(layout.shape[axis] for axis in order))
            dweight = dweight.reshape(shape).transpose(_inverse(order)).reshape(self.weight.shape)
        self.weight.accumulate(np.ascontiguousarray(dweight), copy=False)
        if self.bias is not None:
            self.bias.accumulate(dy.sum(axis=0), copy=False)
        if not input_grad:
            return None
        dx = input_gradient(dy, weight)
        if order is None:
            return dx.reshape(layout.shape)
        images = dx.reshape(len(dx), *(layout.shape[axis] for axis in order))
        return core.in_order_of(images.transpose(_inverse(order)), layout.empty(dx.dtype))

    def _order(self, x: Array) -> tuple[int, ...]:
        """The axes of a sample in the order in which they are flattened.

        That is their order in memory if x has no gaps and the weight, which must then be permuted,
        is smaller than x; else the order of the axes.
        """
        order = _order_in_memory(x)
        return order if self.out_features <= len(x) else tuple(range(1, x.ndim))

    def _weight_in(self, x: Array, order: tuple[int, ...] | None) -> Array:
        """The weight in x's dtype, with its columns in this order of the axes of a sample."""
        weight = self.weight.data.astype(x.dtype, copy=False)
        if order is None:
            return weight
        images = weight.reshape(len(weight), *x.shape[1:])
        return images.transpose(0, *order).reshape(weight.shape)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.has_bias}"
        )


def _order_in_memory(x: Array) -> tuple[int, ...]:
    """The axes of a sample in their order in memory; if x has gaps, in order."""
    order = tuple(sorted(range(1, x.ndim), key=lambda axis: -x.strides[axis]))
    dense = x.transpose(0, *order).flags.c_contiguous
    return order if dense else tuple(range(1, x.ndim))


def _rows(a: Array, order: tuple[int, ...] | None) -> Array:
    """The places of a as rows; with an order of the axes of a sample, the samples."""
    if order is None:
        return a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
    return core.contiguous(a.transpose(0, *order)).reshape(len(a), math.prod(a.shape[1:]))


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that takes (0, *order) back."""
    return (0, *(order.index(axis) + 1 for axis in range(1, len(order) + 1)))
