"""`Embedding`: a trainable vector for each number of a vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.module import Module
from bn.nn.init import Rng, generator
from bn.parameter import Parameter
from bn.types import Array, Shape


class Embedding(Module):
    r"""The rows of a table, :math:`y_i = W_{x_i}` for whole numbers x.

    Parameters
    ----------
    num_embeddings : int
        Rows of the table; x is from 0 to ``num_embeddings - 1``.
    embedding_dim : int
        Values in a row.
    padding_idx : int or None
        A row that begins as zeros and gets no gradient; a negative number counts from the end.
    dtype : dtype_like
        The dtype of the table, and of y: float32 or float64.
    rng : int, Generator or None
        The generator, or its seed, that draws the table from the standard normal distribution.

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)

    Raises
    ------
    ValueError
        A size is not a positive integer, or there is no row `padding_idx`. On a call: a number in x
        has no row.
    TypeError
        On a call: x does not hold integers.

    Notes
    -----
    x has no gradient: `backward` returns None.

    References
    ----------
    torch.nn.Embedding.

    Examples
    --------
    >>> layer = Embedding(5, 2, padding_idx=0, rng=0)
    >>> y = layer(np.array([[1, 1, 0]]))
    >>> y.shape, y[0, 2]
    ((1, 3, 2), array([0., 0.], dtype=float32))
    >>> layer.backward(np.ones_like(y)); layer.weight.grad[:2]
    array([[0., 0.],
           [2., 2.]], dtype=float32)
    """

    kept_names = ("x",)
    takes_integers = True

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
    ) -> None:
        _check.positive_int("num_embeddings", num_embeddings)
        _check.positive_int("embedding_dim", embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = _check.padding_idx(padding_idx, num_embeddings)
        shape, dtype = (num_embeddings, embedding_dim), _check.floating_dtype(dtype)
        table = generator(rng).standard_normal(shape).astype(dtype)
        if self.padding_idx is not None:
            table[self.padding_idx] = 0
        self.weight = Parameter(table)

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.embedding_dim)

    def forward(self, x: Array) -> Array:
        _check.row_numbers("x of Embedding", x, self.num_embeddings)
        y: Array = np.take(self.weight.data, x, axis=0)
        self.keep(y, x)
        return y

    def backward(self, dy: Array) -> None:
        (x,) = self.take(dy)
        dweight = np.zeros(self.weight.shape, dy.dtype)
        if x.size:
            rows, sums = _sums_by_number(x.ravel(), dy.reshape(-1, self.embedding_dim))
            dweight[rows] = sums
        if self.padding_idx is not None:
            dweight[self.padding_idx] = 0
        self.weight.accumulate(dweight, copy=False)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


def _sums_by_number(numbers: Array, rows: Array) -> tuple[Any, Array]:
    """The different numbers, and for each the sum of its rows in their order."""
    order = np.argsort(numbers, kind="stable")
    in_order = numbers[order]
    begins = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])
    sums: Array = np.add.reduceat(rows[order], begins, axis=0)
    return in_order[begins], sums
