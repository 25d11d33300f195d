"""States as JSON and arrays: dicts and lists of numbers, texts and arrays, without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bn import _check
from bn.types import Array

# A dict with one of these keys, and no other, stands for what JSON has not.
ARRAY, SCALAR, TUPLE = "$array", "$scalar", "$tuple"


def taken_apart(value: Any, path: str, arrays: dict[str, Array]) -> Any:
    """What JSON can represent of a state; its arrays go into `arrays`, under their paths.

    Parameters
    ----------
    value : object
    path : str
        Where it is, for the names of arrays and for messages.
    arrays : dict
        Gets copies.

    Examples
    --------
    >>> arrays = {}
    >>> taken_apart({"lr": 0.1, "m": [np.ones(2)]}, "state", arrays), list(arrays)
    ({'lr': 0.1, 'm': [{'$array': 'state.m.0'}]}, ['state.m.0'])
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.hasobject:
            _check.saveable(path, value)
        arrays[path] = np.array(value, order="K")
        return {ARRAY if isinstance(value, np.ndarray) else SCALAR: path}
    if isinstance(value, (list, tuple)):
        items = [taken_apart(each, f"{path}.{i}", arrays) for i, each in enumerate(value)]
        return {TUPLE: items} if isinstance(value, tuple) else items
    if not isinstance(value, Mapping):
        _check.saveable(path, value)
    for key in value:
        if not isinstance(key, str) or key.startswith("$"):
            _check.saveable(f"the key {key!r} of {path}", key)
    return {key: taken_apart(each, f"{path}.{key}", arrays) for key, each in value.items()}


def put_together(value: Any, arrays: Mapping[str, Array]) -> Any:
    """The state that `taken_apart` took apart.

    Examples
    --------
    >>> put_together({"$tuple": [{"$array": "a"}]}, {"a": np.ones(2)})
    (array([1., 1.]),)
    """
    if isinstance(value, list):
        return [put_together(each, arrays) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, inside),) = value.items()
        if key == ARRAY:
            return arrays[inside]
        if key == SCALAR:
            return arrays[inside][()]
        if key == TUPLE:
            return tuple(put_together(each, arrays) for each in inside)
    return {key: put_together(each, arrays) for key, each in value.items()}
