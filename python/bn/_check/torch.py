"""Checks of `bn.torch`, which compute nothing."""

from __future__ import annotations

import importlib.util

from bn._check.base import kind_of
from bn._check.packages import missing_package


def torch_package() -> None:
    if importlib.util.find_spec("torch") is None:
        raise ImportError(missing_package("bn.torch", "torch", "'batchnorm[torch]'"))


def no_answer(timeout: float, reason: object) -> str:
    return f"not all ranks came within {timeout:g} s ({reason})"


def model_of_pytorch(value: object, kind: type, ours: type) -> None:
    if isinstance(value, ours):
        name = type(value).__name__
        raise TypeError(
            f"model must be a torch.nn.Module, got a {name} of bn (bn.torch.from_bn converts it)"
        )
    if not isinstance(value, kind):
        raise TypeError(f"model must be a torch.nn.Module, got {kind_of(value)}")


def model_of_bn(value: object, kind: type, theirs: type) -> None:
    if isinstance(value, theirs):
        name = type(value).__name__
        raise TypeError(
            f"model must be a bn.nn.Module, got a {name} of PyTorch (bn.torch.to_bn converts it)"
        )
    if not isinstance(value, kind):
        raise TypeError(f"model must be a bn.nn.Module, got {kind_of(value)}")


def convertible(place: str, layer: str, reason: str) -> TypeError:
    return TypeError(
        f"model must be of layers that both sides have, got {layer} at {place}: {reason}"
    )


def without_values(name: str) -> TypeError:
    return TypeError(f"model must hold values, got {name} on the device meta")


def not_run_yet(name: str) -> TypeError:
    return TypeError(
        f"model must know its shapes, got {name} of a lazy layer: run the model once first"
    )


def dtype_of_model(name: str, dtype: object) -> TypeError:
    return TypeError(f"model must be in float32 or float64, got {name} in {dtype}")


def not_synchronizable(path: str, layer: str) -> TypeError:
    return TypeError(
        f"module must have its ReLU in layers of their own, got {layer} at {path or 'its root'}: "
        "a SyncBatchNorm in its place would not apply it"
    )
