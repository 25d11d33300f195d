"""`Value`: what flows through a recorded forward."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from bn import _check
from bn.recording import operations
from bn.recording.waiting import Waiting
from bn.types import Array, Shape

if TYPE_CHECKING:
    from bn.recording.record import Call, Record


class Flattened(Waiting):
    """Each sample as a vector, where that would be a copy: it is made when somebody needs it.

    Parameters
    ----------
    unflattened : Value
    index : int
        The number of the flattened value.
    """

    def __init__(self, unflattened: Value, index: int) -> None:
        self.unflattened, self.index = unflattened, index
        self.shape = (unflattened.shape[0], math.prod(unflattened.shape[1:]))
        self.dtype = unflattened.dtype

    def array(self) -> Array:
        return self.unflattened.record.flatten(self.unflattened, self.shape, self.index)


class Value:
    """An array inside the forward of a model, whose way through the model is recorded.

    A model with a `forward` and no `backward` of its own gets its input as a Value. Layers take it
    as they take arrays, and there are these operations: ``+ - * /`` with other values, arrays,
    numbers and parameters, `reshape`, `flatten`, `transpose`, `mean`, indexing by integers and
    slices, and `bn.nn.concatenate`. Anything else is a layer's task.

    Parameters
    ----------
    record : Record
        The record of the forward pass.
    index : int
        Its number among the values of the record.
    array : ndarray or None
        None where it is yet to come.

    Attributes
    ----------
    data : ndarray
        The numbers, to look at. In the backward pass they are constants. Read-only.
    shape, dtype, ndim, size
        As an array's.

    Examples
    --------
    >>> import numpy as np
    >>> from bn import nn
    >>> class Twice(nn.Module):
    ...     def forward(self, x):
    ...         return x + x
    >>> model = Twice()
    >>> model(np.ones(2)), model.backward(np.ones(2))
    (array([2., 2.]), array([2., 2.]))
    """

    __slots__ = ("_array", "_waiting", "index", "joined", "maker", "record")

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, record: Record, index: int, array: Array | None) -> None:
        self.record, self.index, self._array = record, index, array
        self._waiting: Waiting | None = None
        self.joined = False  # whether a layer is computed together with it
        self.maker: Call | None = None  # of a value that waits, the call whose output it is

    # ---- what it is ----

    @property
    def array(self) -> Array:
        """The array, which is computed now if it was not needed before."""
        if self._array is None:
            assert self._waiting is not None
            self._array = self.record.compute(self._waiting)
            self._waiting = None
            if self.joined:
                self.record.note_alone(self)
        return self._array

    @property
    def waiting(self) -> Waiting | None:
        """What computes the array, if that was not needed yet."""
        return self._waiting if self._array is None else None

    def wait(self, waiting: Waiting, maker: Call | None = None) -> Value:
        """Compute the array when it is needed; the value itself."""
        self._waiting, self.maker = waiting, maker
        if maker is not None:
            maker.waiting = waiting
        return self

    @property
    def data(self) -> Array:
        self.record.note_look(self)
        view = self.array.view()
        view.flags.writeable = False
        return view

    @property
    def shape(self) -> Shape:
        return (self._waiting if self._array is None else self._array).shape  # type: ignore[union-attr]

    @property
    def dtype(self) -> np.dtype[Any]:
        return (self._waiting if self._array is None else self._array).dtype  # type: ignore[union-attr]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"Value({self.array!r})"

    # ---- operations ----

    def __add__(self, other: Any) -> Value:
        return self.record.add(self, other)

    def __radd__(self, other: Any) -> Value:
        return self.record.add(other, self)

    def __sub__(self, other: Any) -> Value:
        return self.record.operate("subtract", operations.subtract, self, other)

    def __rsub__(self, other: Any) -> Value:
        return self.record.operate("subtract", operations.subtract, other, self)

    def __mul__(self, other: Any) -> Value:
        return self.record.operate("multiply", operations.multiply, self, other)

    def __rmul__(self, other: Any) -> Value:
        return self.record.operate("multiply", operations.multiply, other, self)

    def __truediv__(self, other: Any) -> Value:
        return self.record.operate("divide", operations.divide, self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self.record.operate("divide", operations.divide, other, self)

    def __neg__(self) -> Value:
        return self.record.operate("negative", operations.negative, self)

    def __getitem__(self, index: Any) -> Value:
        return self.record.part(self, index)

    def reshape(self, *shape: Any) -> Value:
        """The values in C order in another shape; -1 stands for what is left."""
        given = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        whole = _check.new_shape(tuple(given), self.shape)
        if len(whole) == 2 and self.ndim > 2 and whole[0] == self.shape[0]:
            return self._flattened()
        return self.record.operate("reshape", partial(operations.reshape, shape=whole), self)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Value:
        """The axes from `start_dim` to `end_dim` as one, as in PyTorch."""
        first, last = _check.axis_of(start_dim, self.ndim), _check.axis_of(end_dim, self.ndim)
        merged = math.prod(self.shape[first : last + 1])
        return self.reshape(*self.shape[:first], merged, *self.shape[last + 1 :])

    def _flattened(self) -> Value:
        """Each sample as a vector. Where that would be a copy, it is made when it is needed."""
        if self.array.flags.c_contiguous:
            shape = (len(self), math.prod(self.shape[1:]))
            return self.record.operate("reshape", partial(operations.reshape, shape=shape), self)
        value = self.record.new_value(None)
        return value.wait(Flattened(self, value.index))

    def transpose(self, *axes: Any) -> Value:
        """The axes in another order; all reversed without arguments."""
        given = axes[0] if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
        order = _check.axis_order(tuple(given) or tuple(range(self.ndim))[::-1], self.ndim)
        return self.record.operate("transpose", partial(operations.transpose, axes=order), self)

    def mean(self, axis: int | Sequence[int] | None = None, *, keepdims: bool = False) -> Value:
        """The mean over an axis, several, or all; a result of no axes has shape ()."""
        _check.flag("keepdims", keepdims)
        given = range(self.ndim) if axis is None else axis
        each = given if isinstance(given, (range, tuple, list)) else (given,)
        axes = _check.distinct_axes(tuple(each), self.ndim)
        function = partial(operations.mean, axes=axes, keepdims=keepdims)
        return self.record.operate("mean", function, self)

    # ---- what is not recorded ----

    def __array__(self, dtype: object = None, copy: object = None) -> NoReturn:
        raise _check.not_recorded("making an array of it")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Value:
        known = {np.add: "add", np.subtract: "subtract", np.multiply: "multiply"}
        known[np.divide] = "divide"
        if method == "__call__" and ufunc in known and len(inputs) == 2 and not options:
            name = known[ufunc]
            if name == "add":
                return self.record.add(*inputs)
            return self.record.operate(name, getattr(operations, name), *inputs)
        raise _check.not_recorded(f"numpy.{ufunc.__name__}")

    def __array_function__(self, function: Any, *_: Any) -> NoReturn:
        raise _check.not_recorded(f"numpy.{function.__name__}")

    def __iter__(self) -> NoReturn:
        raise _check.not_recorded("iterating over it")

    def __bool__(self) -> NoReturn:
        raise _check.not_recorded("asking whether it is true")

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise _check.not_recorded("assigning to parts of it")

    def __getattr__(self, name: str) -> NoReturn:
        raise _check.no_attribute(name)


def _refused(name: str, words: str) -> None:
    def method(self: Value, *_: Any) -> NoReturn:
        raise _check.not_recorded(words)

    method.__name__ = method.__qualname__ = name
    setattr(Value, name, method)


for _name, _words in {
    "__iadd__": "+= (write x = x + y)",
    "__isub__": "-= (write x = x - y)",
    "__imul__": "*= (write x = x * y)",
    "__itruediv__": "/= (write x = x / y)",
    "__pow__": "**",
    "__rpow__": "**",
    "__matmul__": "@",
    "__rmatmul__": "@",
    "__mod__": "%",
    "__floordiv__": "//",
    "__abs__": "abs",
    "__float__": "float",
    "__int__": "int",
    "__eq__": "==",
    "__ne__": "!=",
    "__lt__": "<",
    "__le__": "<=",
    "__gt__": ">",
    "__ge__": ">=",
}.items():
    _refused(_name, _words)


# How the values are joined in a forward that another library runs on its own values.
joining: ContextVar[Callable[[Sequence[Any], int], Any] | None] = ContextVar("join", default=None)


def concatenate(values: Sequence[Any], axis: int = 0) -> Any:
    """Join arrays or recorded values along an axis.

    Parameters
    ----------
    values : sequence of ndarray or Value
        Of one shape, but for this axis.
    axis : int

    Returns
    -------
    ndarray, or Value if any of them is one

    Raises
    ------
    ValueError
        There are none, or their shapes differ in other axes.

    References
    ----------
    numpy.concatenate, torch.cat.

    Examples
    --------
    >>> import numpy as np
    >>> concatenate([np.ones((2, 1)), np.zeros((2, 2))], axis=1)
    array([[1., 0., 0.],
           [1., 0., 0.]])
    """
    join = joining.get()
    if join is not None:
        return join(values, axis)
    _check.several("values", values)
    shapes = [np.shape(v) if not isinstance(v, Value) else v.shape for v in values]
    at = _check.joinable(shapes, axis)
    recorded = [v for v in values if isinstance(v, Value)]
    if not recorded:
        arrays = [_check.array("each value", v) for v in values]
        return operations.concatenate(*arrays, axis=at)[0]
    function = partial(operations.concatenate, axis=at)
    return recorded[0].record.operate("concatenate", function, *values)
