"""Single normalization layers between `bn` and other frameworks.

Each framework is imported when one of its functions is called.
"""

from bn.convert.flax import from_flax, to_flax
from bn.convert.keras import from_keras, to_keras
from bn.convert.torch import from_torch, to_torch

__all__ = ["from_flax", "from_keras", "from_torch", "to_flax", "to_keras", "to_torch"]
