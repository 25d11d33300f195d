"""The `combine` that a block gives to all layers called inside it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bn.layers.batch_norm import BatchNorm

Combine = Callable[[Any], Any]  # from Stats to Stats, and from BackwardSums to BackwardSums
Combiner = Callable[["BatchNorm"], Combine]

# What makes the combine of a layer within the block, and what the variable held before the block.
combiner: ContextVar[tuple[Combiner, object] | None] = ContextVar("bn_combiner", default=None)
