"""`Parameter`: an array that trains."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bn import _check
from bn.recording.kept import running_record
from bn.types import Array, Shape


class Parameter:
    """A trainable array and its gradient.

    Parameters
    ----------
    data : array_like
        The initial value; it is not copied.

    Attributes
    ----------
    data : ndarray
        The value.
    grad : ndarray or None
        The accumulated gradient, None before the first `backward` and after `zero_grad`.
    trainable : bool
        False for a parameter that gets no gradients, so that optimizers leave it as it is.

    Examples
    --------
    >>> p = Parameter(np.ones(2))
    >>> p.accumulate(np.array([1.0, 2.0])); p.accumulate(np.array([1.0, 2.0])); p.grad
    array([2., 4.])
    """

    __slots__ = ("data", "grad", "trainable")

    def __init__(self, data: ArrayLike) -> None:
        self.data: Array = _check.array("data", data)
        self.grad: Array | None = None
        self.trainable = True

    def accumulate(self, grad: Array, copy: bool = True) -> None:
        """Add to the gradient, which has the parameter's dtype.

        Parameters
        ----------
        grad : ndarray
        copy : bool
            False gives `grad` away: nobody else may use it from now on.
        """
        _check.flag("copy", copy)
        if not self.trainable:
            return
        if self.grad is None:
            self.grad = grad.astype(self.data.dtype, copy=copy)
        else:
            self.grad += grad

    @property
    def shape(self) -> Shape:
        return self.data.shape

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    def __getitem__(self, index: Any) -> Any:
        """A part of the data; in a model's forward a value, so that it gets a gradient."""
        record = running_record()
        if record is not None:
            return record.part(self, index)
        return self.data[index]

    def __setitem__(self, index: Any, value: ArrayLike) -> None:
        self.data[index] = value

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        if running_record() is not None:
            raise _check.not_recorded("making an array of a parameter")
        if dtype is None or np.dtype(dtype) == self.data.dtype:
            return self.data.copy() if copy else self.data
        return self.data.astype(dtype)

    def __repr__(self) -> str:
        return f"Parameter({self.data!r})"
