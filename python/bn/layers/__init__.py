"""Batch normalization layers: one implementation, families of conventions, and wrappers."""

from bn.layers.axes import FeatureAxes
from bn.layers.base import BatchNorm
from bn.layers.convention import Convention
from bn.layers.freezing import freeze, unfreeze
from bn.layers.ghost import GhostBatchNorm
from bn.layers.keras import BatchNormalization
from bn.layers.preset import PresetBatchNorm, preset
from bn.layers.regularizers import Regularizer
from bn.layers.torch import BatchNorm1d, BatchNorm2d, BatchNorm3d
from bn.layers.tracking import NonFiniteWarning, SmallBatchWarning
from bn.layers.updates import no_stat_update

__all__ = [
    "BatchNorm",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BatchNormalization",
    "Convention",
    "FeatureAxes",
    "GhostBatchNorm",
    "NonFiniteWarning",
    "PresetBatchNorm",
    "Regularizer",
    "SmallBatchWarning",
    "freeze",
    "no_stat_update",
    "preset",
    "unfreeze",
]
