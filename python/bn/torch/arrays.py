"""Tensors as arrays over the same memory, and back."""

from __future__ import annotations

from typing import Any

import torch
import torch.autograd.forward_ad as forward_mode
from torch._C import _are_functorch_transforms_active as transforming
from torch._C import _get_tracing_state as tracing
from torch._C import _len_torch_dispatch_stack as modes
from torch._C._functorch import is_legacy_batchedtensor as batched
from torch.compiler import is_compiling

from bn.types import Array

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
PLAIN = (torch.Tensor, torch.nn.Parameter)  # a subclass may be anything


def array_of(tensor: torch.Tensor) -> Array:
    """The values of a tensor, without a copy.

    NumPy has no bfloat16. The core takes any numbers of two bytes but float16 for bfloat16.
    """
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.detach().resolve_neg().view(torch.uint16)
    array: Array = tensor.numpy(force=True)
    return array


def optional_array(tensor: torch.Tensor | None) -> Array | None:
    return None if tensor is None else array_of(tensor)


def vector_of(tensor: torch.Tensor | None) -> Array | None:
    """The values of channels, which the core takes as float32 or float64."""
    if tensor is None:
        return None
    return array_of(tensor.float() if tensor.dtype.itemsize == 2 else tensor)


def tensor_of(array: Array, dtype: torch.dtype) -> torch.Tensor:
    """A tensor over the memory of an array that the core returned."""
    tensor = torch.from_numpy(array)
    return tensor.view(dtype) if dtype == torch.bfloat16 else tensor


def plain(tensor: Any) -> bool:
    """Whether a tensor is nothing but its values, and autograd alone follows what becomes of them.

    The transforms of ``torch.func``, forward-mode derivatives, batches of gradients,
    ``torch.jit.trace`` and the modes that ``torch.utils._python_dispatch`` has for programs such as
    ``make_fx`` follow each operation of PyTorch, and would miss those of the core.
    """
    if type(tensor) not in PLAIN or transforming():
        return False
    return is_compiling() or not (
        modes() or forward_mode._current_level >= 0 or tracing() or batched(tensor)
    )


def taken(x: Any) -> bool:
    """Whether the core can compute with this tensor; all others are PyTorch's."""
    return (
        plain(x) and x.is_cpu and x.dtype in DTYPES and x.layout == torch.strided and x.numel() > 0
    )


def fits(tensor: torch.Tensor | None, shape: tuple[int, ...]) -> bool:
    """Whether an optional tensor has these values of parameters, one for each."""
    return tensor is None or (
        type(tensor) in PLAIN and tensor.is_cpu and tensor.dtype in DTYPES and tensor.shape == shape
    )


def alike(a: torch.Tensor, x: torch.Tensor) -> bool:
    """Whether a tensor can be added to x, which the core takes, in the pass that reads x."""
    return taken(a) and a.dtype == x.dtype and a.shape == x.shape
