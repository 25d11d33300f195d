"""Normalization layers: one implementation, families of conventions, and wrappers."""

from bn.layers.batch_norm import BatchNorm, SmallBatchWarning
from bn.layers.convention import Convention
from bn.layers.feature_axes import FeatureAxes
from bn.layers.freezing import freeze, unfreeze
from bn.layers.ghost import GhostBatchNorm
from bn.layers.group_norm import GroupNorm, GroupNormalization
from bn.layers.instance_norm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from bn.layers.keras_style import BatchNormalization
from bn.layers.layer_norm import LayerNorm, LayerNormalization, RMSNorm
from bn.layers.micro_batches import Accumulation, accumulate
from bn.layers.preset import PresetBatchNorm, preset
from bn.layers.regularizers import Regularizer
from bn.layers.running_stats import NonFiniteWarning, RunningStats, no_stat_update
from bn.layers.torch_style import BatchNorm1d, BatchNorm2d, BatchNorm3d
from bn.layers.watching import watching

__all__ = [
    "Accumulation",
    "BatchNorm",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BatchNormalization",
    "Convention",
    "FeatureAxes",
    "GhostBatchNorm",
    "GroupNorm",
    "GroupNormalization",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LayerNormalization",
    "NonFiniteWarning",
    "PresetBatchNorm",
    "RMSNorm",
    "Regularizer",
    "RunningStats",
    "SmallBatchWarning",
    "accumulate",
    "freeze",
    "no_stat_update",
    "preset",
    "unfreeze",
    "watching",
]
