"""Checks of `bn.convert`, which compute nothing."""

from __future__ import annotations

import importlib.util
from typing import Any

from bn._check.base import Array, is_integer, kind_of
from bn._check.packages import missing_package


def framework(user: str, package: str, installed: str) -> None:
    """Check that the package of a framework is there."""
    if importlib.util.find_spec(package) is None:
        raise ImportError(missing_package(user, package, installed))


def normalization(name: str, value: object, of: str, known: tuple[str, ...]) -> str:
    """Check that a value is a normalization of a framework; return its class's name."""
    kind = type(value).__name__
    if kind not in known or isinstance(value, type):
        raise TypeError(f"{name} must be one of {of}'s {', '.join(known)}, got {kind_of(value)}")
    return kind


def own_class(layer: object, known: tuple[type, ...]) -> None:
    """Check that a layer is of a framework's own class, as a subclass may compute anything."""
    kind = type(layer)
    if kind not in known:
        raise TypeError(
            f"layer must be of a class of the framework itself, got {kind.__module__}."
            f"{kind.__qualname__}, which may compute something else"
        )


def not_exact(layer: object, side: str, reason: str) -> ValueError:
    """The error for a layer that the other side has not exactly."""
    return ValueError(
        f"layer must be one that {side} can have too, got a {type(layer).__name__}: {reason}"
    )


def variance(value: object) -> None:
    """Check what is to become of a running variance of the other kind."""
    if is_integer(value) and value >= 2:
        return
    if not isinstance(value, str) or value not in ("exact", "as is"):
        raise ValueError(
            "variance must be 'exact', 'as is', or the number of values of a channel in a batch, "
            f"at least 2, got {value!r}"
        )


def rank_of_x(ndim: object, known: int | None, layer: object) -> int:
    """Check the number of axes of x, which some layers know and others must be told."""
    if ndim is None and known is None:
        raise ValueError(
            f"ndim must be the number of axes of x, which a {type(layer).__name__} does not know, "
            "got None"
        )
    found = known if ndim is None else ndim
    if not is_integer(found) or found < 2:
        raise ValueError(f"ndim must be an integer of at least 2, got {ndim!r}")
    return int(found)


def flax_variables(value: Any) -> tuple[dict[str, Array], dict[str, Array]]:
    """Check the variables of a module of Flax; return its parameters and its statistics."""
    if not hasattr(value, "get"):
        raise TypeError(
            "variables must be a mapping with 'params' and 'batch_stats', "
            f"got {type(value).__name__}"
        )
    return dict(value.get("params", {})), dict(value.get("batch_stats", {}))


def same_precision(own: object, made: object) -> None:
    """Check that JAX has kept the dtype of an array."""
    if own != made:
        raise ValueError(
            f"dtype must be one that JAX keeps, got {own}: set jax_enable_x64 for float64"
        )
