"""Tensors as arrays over the same memory, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch._C import _are_functorch_transforms_active as transforming

from bn.types import Array

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
PLAIN = (torch.Tensor, torch.nn.Parameter)  # a subclass may be anything


def array_of(tensor: torch.Tensor) -> Array:
    """The values of a tensor, without a copy.

    NumPy has no bfloat16. The core takes any numbers of two bytes but float16 for bfloat16.
    """
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.detach().view(torch.uint16)
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


def taken(x: Any) -> bool:
    """Whether the core can compute with this tensor; all others are PyTorch's."""
    return (
        type(x) in PLAIN
        and x.is_cpu
        and x.dtype in DTYPES
        and x.layout == torch.strided
        and x.numel() > 0
        and not transforming()
    )


def fits(tensor: torch.Tensor | None, shape: tuple[int, ...]) -> bool:
    """Whether an optional tensor has these values of parameters, one for each."""
    return tensor is None or (tensor.is_cpu and tensor.dtype in DTYPES and tensor.shape == shape)


def alike(a: torch.Tensor, x: torch.Tensor) -> bool:
    """Whether a tensor can be added to x, which the core takes, in the pass that reads x."""
    return taken(a) and a.dtype == x.dtype and a.shape == x.shape
