"""Batch normalization layers: one implementation, two families of conventions."""

from bn.layers.keras import BatchNormalization
from bn.layers.torch import BatchNorm1d, BatchNorm2d, BatchNorm3d

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "BatchNormalization"]
