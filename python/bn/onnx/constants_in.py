"""Nodes whose inputs are all constant, which are computed once."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bn.onnx.operands import MOST_AXES, Given, slice_index
from bn.types import Array


def constant(given: Given) -> Array:
    """The value of a Constant."""
    for name, dtype in {
        "value_float": np.float32, "value_floats": np.float32, "value_int": np.int64,
        "value_ints": np.int64,
    }.items():  # fmt: skip
        found = given.attribute(name, None)
        if found is not None:
            return np.array(found, dtype)
    return np.asarray(given.attribute("value"))


def cast(given: Given) -> Array:
    """Numbers in another dtype."""
    from onnx import helper

    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(given.attribute("to", 0)))
    given.only("saturate", 1, 0)
    if dtype.kind not in "fiub":
        raise ValueError(f"Cast must have the dtype of numbers, got {dtype}")
    return given.constant(0).astype(dtype)


def transposed(given: Given) -> Array:
    """The axes in another order."""
    return given.constant(0).transpose(given.attribute("perm", None))


def reshaped(given: Given) -> Array:
    """The values in another shape."""
    array, shape = given.constant(0), given.integers(1)
    given.only("allowzero", 0)
    if any(n == 0 and i >= array.ndim for i, n in enumerate(shape)):
        raise ValueError(f"Reshape must keep axes that there are, got {shape}")
    return array.reshape([array.shape[i] if n == 0 else n for i, n in enumerate(shape)])


def unsqueezed(given: Given) -> Array:
    """New axes of length 1."""
    return np.expand_dims(given.constant(0), tuple(given.integers(1)))


def squeezed(given: Given) -> Array:
    """Without axes of length 1."""
    return np.squeeze(given.constant(0), tuple(given.integers(1)) if len(given) > 1 else None)


def filled(given: Given) -> Array:
    """A few equal numbers, such as the first ones of the pads around an image."""
    shape = given.integers(0)
    value = np.asarray(given.attribute("value", np.zeros(1, np.float32)))
    if math.prod(shape) > MOST_AXES or min(shape, default=0) < 0 or value.size != 1:
        raise ValueError(f"ConstantOfShape must make up to {MOST_AXES} numbers, got {shape}")
    return np.full(shape, value.reshape(()))


def concatenated(given: Given) -> Array:
    """Constants behind each other."""
    arrays = [given.constant(i) for i in range(len(given))]
    return np.concatenate(arrays, given.attribute("axis"))


def sliced(given: Given) -> Array:
    """Parts of some axes."""
    part: Array = given.constant(0)[slice_index(given)]
    return part


FOLDED: dict[str, Callable[[Given], Array]] = {
    "Cast": cast,
    "Concat": concatenated,
    "ConstantOfShape": filled,
    "Constant": constant,
    "Identity": lambda given: given.constant(0),
    "Reshape": reshaped,
    "Slice": sliced,
    "Squeeze": squeezed,
    "Transpose": transposed,
    "Unsqueeze": unsqueezed,
}
