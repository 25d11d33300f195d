"""Arrays of other libraries as arguments: at the entrances of `bn` they become NumPy's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from bn import _check

P = ParamSpec("P")
R = TypeVar("R")
WRITTEN = ("out", "dresidual")  # arguments for results, which must be NumPy's
UPDATED = ("running_mean", "running_var")  # arguments that are written if one of these flags is set
UPDATING = ("training", "use_input_stats")


def takes_arrays(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function take arrays of other libraries.

    Arguments are looked at when the function has refused a call. What remains for other calls is
    that of a wrapper, a tenth of a microsecond; functions that take only a few catch the refusal
    themselves, and call `again`.

    Parameters
    ----------
    function : callable
        It checks its arguments before it changes anything.

    Returns
    -------
    callable

    Examples
    --------
    >>> import numpy as np
    >>> class Elsewhere:
    ...     __module__ = "elsewhere"
    ...     def __array__(self, dtype=None, copy=None):
    ...         return np.ones((2, 1))
    >>> @takes_arrays
    ... def doubled(x):
    ...     return 2 * _check.floating("x", x)
    >>> doubled(Elsewhere())
    array([[2.],
           [2.]])
    """

    @wraps(function)
    def taking(*args: P.args, **options: P.kwargs) -> R:
        try:
            return function(*args, **options)
        except TypeError:
            return again(function, signature(function).bind(*args, **options).arguments)

    return taking


def takes_gradients(backward: Callable[..., R]) -> Callable[..., R]:
    """`takes_arrays` for a backward pass, at a third of the cost where dy is all that it takes.

    Parameters
    ----------
    backward : callable
        A method of a layer.

    Returns
    -------
    callable

    Examples
    --------
    >>> takes_gradients(lambda self, dy: 2 * dy)(None, 3.0)
    6.0
    """
    if len(signature(backward).parameters) != 2:
        return takes_arrays(backward)

    @wraps(backward)
    def taking(self: Any, dy: Any) -> R:
        try:
            return backward(self, dy)
        except TypeError:
            return again(backward, signature(backward).bind(self, dy).arguments)

    return taking


def again(function: Callable[..., R], given: Mapping[str, Any]) -> R:
    """Call a function with the arrays of other libraries as NumPy's, after it refused a call.

    Parameters
    ----------
    function : callable
    given : mapping
        The arguments of the call by name, as ``locals()`` has them; other names are left out.

    Returns
    -------
    object
        What the function returns.

    Raises
    ------
    TypeError
        The error that is being handled, where no argument is an array of another library; or
        running statistics of another library are to be updated.

    Examples
    --------
    >>> def root(x):
    ...     try:
    ...         _check.floating("x", x)
    ...     except TypeError:
    ...         return again(root, locals())
    >>> root("a text")
    Traceback (most recent call last):
    ...
    TypeError: x must be a numpy array, got str (see np.asarray)
    """
    call = signature(function).bind_partial()
    call.arguments.update({n: v for n, v in given.items() if n in call.signature.parameters})
    if not any(map(holds_foreign, call.arguments.values())):
        raise  # noqa: PLE0704, what the caller is handling
    call.apply_defaults()
    if any(call.arguments.get(flag) is True for flag in UPDATING):
        for name in UPDATED:
            _check.written(name, call.arguments.get(name))
    for name, value in call.arguments.items():
        if name not in WRITTEN:
            call.arguments[name] = numpy_argument(name, value)
    return function(*call.args, **call.kwargs)


def holds_foreign(value: object) -> bool:
    """Whether a value is an array of another library, or a tuple with such arrays.

    Examples
    --------
    >>> holds_foreign((1.0, "text", None))
    False
    """
    if type(value) is tuple:
        return any(map(holds_foreign, value))
    return _check.is_foreign(value)


def numpy_argument(name: str, value: Any) -> Any:
    """An array of another library as one of NumPy's, which is read-only; anything else as it is.

    Parameters
    ----------
    name : str
        What messages call it.
    value : object
        Of a tuple, each item is taken by itself.

    Examples
    --------
    >>> numpy_argument("x", (1.0, "text", None))
    (1.0, 'text', None)
    """
    if type(value) is tuple:
        return tuple([numpy_argument(name, each) for each in value])
    if not _check.is_foreign(value):
        return value
    array = _check.from_elsewhere(name, value).view()  # the other library may keep its own view
    array.flags.writeable = False
    return array
