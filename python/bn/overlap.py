"""Outputs that the caller gave: which may be written while inputs are read."""

from __future__ import annotations

import numpy as np

from bn.types import Array


def shares(out: Array, *arrays: Array | None) -> bool:
    return any(a is not None and np.may_share_memory(out, a) for a in arrays)


def overlaps(out: Array, *arrays: Array | None) -> bool:
    """Whether out shares memory with an array that is not out to the byte."""
    return any(
        a is not None
        and shares(out, a)
        and (out.ctypes.data != a.ctypes.data or out.strides != a.strides)
        for a in arrays
    )


def usable_output(
    out: Array | None, inputs: tuple[Array | None, ...], vectors: tuple[Array | None, ...]
) -> Array | None:
    """`out` if the kernels may write there: it is an input to the byte, or apart from all."""
    if out is None or overlaps(out, *inputs) or shares(out, *vectors):
        return None
    return out


def delivered(y: Array, out: Array | None) -> Array:
    if out is None or out is y:
        return y
    out[...] = y
    return out
