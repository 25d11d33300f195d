"""The law that each call of the fuzz obeys.

Good arguments give the answer of float64 within the promised bounds. A bad one is refused with an
error that names it. Either way, what is no output stays as it was, to the last byte.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import accuracy
import ml_dtypes
import numpy as np

REFUSALS = (TypeError, ValueError, RuntimeError)
BOUND = {"float64": 1e-11}  # of the terms' sizes; that of all other dtypes is the next one
FLOAT32_BOUND = 2e-6


@dataclass
class Case:
    """A call, what it must return, and the argument that it must refuse, if there is one."""

    call: Callable[..., Any]
    arguments: dict[str, Any]
    check: Callable[[Any], None]
    outputs: tuple[str, ...] = ()
    bad: str | None = None
    said: tuple[str, ...] = field(default_factory=tuple)  # other names for the bad one

    def spoil(self, draw, **candidates):
        """Put something bad in the place of one argument, one time in four."""
        if not draw.often():
            self.bad = draw.pick(sorted(candidates))
            bad = draw.pick(candidates[self.bad])
            good = self.arguments.get(self.bad)
            self.arguments[self.bad] = bad(good) if isinstance(bad, FunctionType) else bad
        return self


def entries(table):
    """Return a decorator that puts a case into a table, with the public names that it calls."""

    def fuzzed(*names):
        def add(make):
            table[make.__name__] = make, names
            return make

        return add

    return fuzzed


def obey(case):
    """Call it, and assert that the law holds."""
    arrays = {n: a for n, a in case.arguments.items() if isinstance(a, np.ndarray)}
    before = {n: (whole(a).tobytes(), np.asarray(a).tobytes()) for n, a in arrays.items()}
    shared = [a for n, a in arrays.items() if n in case.outputs and n != case.bad]
    refusal = None
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = case.call(**case.arguments)
        except REFUSALS as error:
            refusal = error
        if refusal is None:
            assert case.bad is None, f"{case.bad} was taken: {case.arguments[case.bad]!r}"
            case.check(result)
    for name, array in arrays.items():
        outputs = shared if refusal is None else []
        if not any(np.may_share_memory(whole(array), out) for out in outputs):
            assert whole(array).tobytes() == before[name][0], f"{name} was changed"
        elif not any(np.may_share_memory(array, out) for out in outputs):
            assert np.asarray(array).tobytes() == before[name][1], f"{name} was changed"
    if refusal is not None:
        assert case.bad is not None, f"good arguments were refused: {refusal!r}"
        names = (case.bad, *case.said)
        named = any(re.search(rf"\b{name}\b", str(refusal)) for name in names)
        assert named, f"{names} not named: {refusal!r}"


def whole(a):
    """Return the array that owns the memory, as a plain one."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return np.asarray(a)


def wide(a):
    """Return a plain copy in float64."""
    return np.array(a, np.float64)


def close(found, expected, size, what="result", factor=1.0):
    """Assert that found is expected, where the terms of the sum have this size.

    What is beyond its dtype may have become infinite. What is not finite in float64 is not in
    found.
    """
    found, dtype = wide(found), np.asarray(found).dtype
    expected, size = np.broadcast_arrays(wide(expected), wide(size))
    assert found.shape == expected.shape, f"{what} has shape {found.shape}, not {expected.shape}"
    largest = float(finfo(dtype).max)
    finite = np.isfinite(expected) & np.isfinite(size) & (size < largest / 4)
    assert not np.isfinite(found[~np.isfinite(expected)]).any(), f"{what} lost what is not finite"
    bound = factor * BOUND.get(dtype.name, FLOAT32_BOUND) * size[finite]
    bound += 4 * float(finfo(dtype).smallest_subnormal)
    if dtype.itemsize == 2:
        bound += accuracy.half_ulp(np.abs(expected[finite]) + bound, dtype)
    errors = found[finite] - expected[finite]
    if errors.size:
        accuracy.below(errors, bound, what)


def finfo(dtype):
    return ml_dtypes.finfo(dtype) if dtype.itemsize == 2 else np.finfo(dtype)
