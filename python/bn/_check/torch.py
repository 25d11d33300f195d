"""Checks of `bn.torch`, which compute nothing."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from bn._check.packages import missing_package


def torch_package() -> None:
    if importlib.util.find_spec("torch") is None:
        raise ImportError(missing_package("bn.torch", "torch", "'.[torch]' in a checkout of bn"))


def no_answer(timeout: float, reason: object) -> str:
    return f"not all ranks came within {timeout:g} s ({reason})"


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


def not_of_keras(modules: Iterable[object]) -> None:
    for module in modules:
        if type(module).__module__.startswith("bn.keras."):
            raise TypeError(
                f"model must not be of bn.keras, got {type(module).__name__}: its layers have "
                "their channels last, and from_bn takes those of bn.nn with their channels first"
            )


def not_synchronizable(path: str, layer: str) -> TypeError:
    return TypeError(
        f"module must have its ReLU in layers of their own, got {layer} at {path or 'its root'}: "
        "a SyncBatchNorm in its place would not apply it"
    )
