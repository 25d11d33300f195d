"""Arrays of other libraries: whether a value is one, and its values as an array of NumPy's."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bn._check.packages import missing_package

Array = NDArray[Any]
# The kinds of memory of DLPack that a CPU reads: its own, and what CUDA and ROCm share with it.
READ_BY_CPUS = (1, 3, 11, 13)
UNREADABLE = (TypeError, ValueError, RuntimeError, BufferError, AttributeError)


def is_foreign(value: object) -> bool:
    """Whether a value is an array of another library, which has NumPy's protocol or DLPack's.

    NumPy's own scalars are none, and neither are `bn`'s own objects.
    """
    kind = type(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return False
    has_protocol = hasattr(kind, "__dlpack__") or hasattr(kind, "__array__")
    return has_protocol and kind.__module__.partition(".")[0] != "bn"


def from_elsewhere(name: str, value: Any) -> Array:
    """The values of an array of another library, in its own memory where that can be read.

    DLPack comes first, because some libraries copy for NumPy's protocol. What it does not carry,
    such as bfloat16 of JAX, comes by NumPy's.
    """
    kind = type(value).__name__
    if getattr(value, "requires_grad", False) is True:
        raise TypeError(f"{name} must not require a gradient, got {kind}: give its detach()")
    try:
        on_cpu = not hasattr(value, "__dlpack_device__") or (
            value.__dlpack_device__()[0] in READ_BY_CPUS
        )
        array = _read(name, value) if on_cpu else None
    except UNREADABLE as error:
        raise TypeError(
            f"{name} must be readable as a NumPy array, got {kind} ({error}){_way_out(value)}"
        ) from error
    if array is None:
        raise TypeError(f"{name} must be on the CPU, got {kind} on {_device(value)}")
    return array


def _read(name: str, value: Any) -> Array:
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        return _bfloat16(name, value)
    if not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    if hasattr(value, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except UNREADABLE:
            pass  # by NumPy's protocol, which says what is wrong otherwise
    array: Array = np.asarray(value)
    return array


def _bfloat16(name: str, tensor: Any) -> Array:
    """A tensor of PyTorch's bfloat16, which NumPy has not: its bits, as those of ml_dtypes."""
    try:
        import ml_dtypes
    except ImportError as error:
        message = missing_package(f"{name} of bfloat16", "ml_dtypes", "ml_dtypes")
        raise ImportError(message) from error
    bits: Array = np.from_dlpack(tensor.view(sys.modules["torch"].int16))
    return bits.view(ml_dtypes.bfloat16)


def _way_out(value: Any) -> str:
    """What a user can do about an array that cannot be read, as the end of a message."""
    if hasattr(value, "aval"):  # JAX traces it
        return ": call bn outside of jax.jit and jax.grad, where arrays have values"
    if getattr(value, "is_meta", False) is True:
        return ": a meta tensor has no values"
    if not hasattr(value, "detach"):
        return ""
    if str(getattr(value, "layout", "torch.strided")) != "torch.strided":
        return ": give tensor.to_dense()"
    return ": give tensor.detach().float().cpu()"


def written(name: str, value: object) -> None:
    """Check that an array whose values will change is NumPy's."""
    if is_foreign(value):
        kind = type(value).__name__
        raise TypeError(
            f"{name} must be a NumPy array, since it is updated, got {kind} (see np.asarray)"
        )


def _device(value: Any) -> object:
    return getattr(value, "device", f"a device of DLPack's kind {value.__dlpack_device__()[0]}")
