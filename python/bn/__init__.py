"""Batch normalization for NumPy on CPUs.

Layers with PyTorch's conventions (`BatchNorm1d`, `BatchNorm2d`, `BatchNorm3d`) and with Keras's
(`BatchNormalization`), the functional form `batch_norm`, and the pure functions that all of them
are made of: `stats`, `merge`, `commit`, `normalize`, `backward_reduce`, `backward_apply`.
`bn.nn` is a small CNN pipeline for them, on which `bn.keras` runs programs of Keras;
``python -m bn`` is the command.
"""

import importlib
from typing import TYPE_CHECKING, Any

from bn import _core as _core
from bn import dask, memory, mpi, onnx
from bn.config import VERSION as __version__
from bn.config import get_num_threads, set_num_threads, show_config, threads
from bn.distributed import SyncError, synchronize, synchronized
from bn.double_backward import batch_norm_double_backward
from bn.files import LoadedState, Match, MatchedState, load_state, match_state, save_state
from bn.functional import (
    backward_apply,
    backward_reduce,
    commit,
    merge,
    normalize,
    stats,
)
from bn.fused import backward_batch, batch_norm, normalize_batch
from bn.groups import group_norm, instance_norm
from bn.layers import (
    Accumulation,
    BatchNorm,
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    BatchNormalization,
    Convention,
    FeatureAxes,
    GhostBatchNorm,
    GroupNorm,
    GroupNormalization,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    LayerNormalization,
    NonFiniteWarning,
    PresetBatchNorm,
    Regularizer,
    RMSNorm,
    RunningStats,
    SmallBatchWarning,
    accumulate,
    freeze,
    no_stat_update,
    preset,
    unfreeze,
    watching,
)
from bn.masking import position_weights
from bn.module import Module
from bn.parameter import Parameter
from bn.recording.compiled import Compiled
from bn.recording.in_place import check_inputs
from bn.rows import layer_norm, rms_norm
from bn.sample_double_backward import (
    group_norm_double_backward,
    layer_norm_double_backward,
    rms_norm_double_backward,
)
from bn.statistics import BackwardSums, Stats
from bn.streams import stats_of
from bn.tools import (
    Folded,
    LayerReport,
    Report,
    adapt,
    compile,
    fold,
    fold_arrays,
    plot_activations,
    plot_running_stats,
    recalibrate,
    report,
    test,
)

__all__ = [
    "Accumulation",
    "BackwardSums",
    "BatchNorm",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BatchNormalization",
    "Cause",
    "Compiled",
    "Convention",
    "Explanation",
    "FeatureAxes",
    "Folded",
    "GhostBatchNorm",
    "GroupNorm",
    "GroupNormalization",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LayerNormalization",
    "LayerReport",
    "LoadedState",
    "Match",
    "MatchedState",
    "Module",
    "NonFiniteWarning",
    "Parameter",
    "PresetBatchNorm",
    "RMSNorm",
    "Regularizer",
    "Report",
    "RunningStats",
    "SmallBatchWarning",
    "Stats",
    "SyncError",
    "__version__",
    "accumulate",
    "adapt",
    "backward_apply",
    "backward_batch",
    "backward_reduce",
    "batch_norm",
    "batch_norm_double_backward",
    "check_inputs",
    "commit",
    "compile",
    "convert",
    "dask",
    "explain_difference",
    "fold",
    "fold_arrays",
    "freeze",
    "get_num_threads",
    "group_norm",
    "group_norm_double_backward",
    "instance_norm",
    "layer_norm",
    "layer_norm_double_backward",
    "load_state",
    "match_state",
    "memory",
    "merge",
    "mpi",
    "no_stat_update",
    "normalize",
    "normalize_batch",
    "onnx",
    "plot_activations",
    "plot_running_stats",
    "position_weights",
    "preset",
    "recalibrate",
    "report",
    "rms_norm",
    "rms_norm_double_backward",
    "save_state",
    "set_num_threads",
    "show_config",
    "stats",
    "stats_of",
    "synchronize",
    "synchronized",
    "test",
    "threads",
    "unfreeze",
    "watching",
]

LATER = {  # what is imported when somebody asks for it, and PyTorch with bn.torch
    "Cause": "bn.explaining",
    "Explanation": "bn.explaining",
    "convert": "bn.convert",
    "explain_difference": "bn.explaining",
    "keras": "bn.keras",
    "torch": "bn.torch",
}

if TYPE_CHECKING:
    from bn import convert
    from bn.explaining import Cause, Explanation, explain_difference
else:  # type checkers would believe that there is every name

    def __getattr__(name: str) -> Any:
        """Import what few programs use, where somebody asks for it."""
        if name not in LATER:
            raise AttributeError(f"module 'bn' has no attribute {name!r}")
        module = importlib.import_module(LATER[name])
        return module if module.__name__ == f"bn.{name}" else getattr(module, name)
