"""Batch normalization for NumPy on CPUs.

Layers with PyTorch's conventions (`BatchNorm1d`, `BatchNorm2d`, `BatchNorm3d`) and with Keras's
(`BatchNormalization`), the functional form `batch_norm`, and the pure functions that all of them
are made of: `stats`, `merge`, `commit`, `normalize`, `backward_reduce`, `backward_apply`.
`bn.nn` is a small CNN pipeline for them; ``python -m bn`` is the command.
"""

from bn import memory
from bn._module import Module, Parameter
from bn.config import VERSION as __version__
from bn.config import get_num_threads, set_num_threads, show_config, threads
from bn.functional import (
    BackwardSums,
    Stats,
    backward_apply,
    backward_batch,
    backward_reduce,
    batch_norm,
    commit,
    merge,
    normalize,
    normalize_batch,
    stats,
)
from bn.layers import BatchNorm1d, BatchNorm2d, BatchNorm3d, BatchNormalization

__all__ = [
    "BackwardSums",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BatchNormalization",
    "Module",
    "Parameter",
    "Stats",
    "__version__",
    "backward_apply",
    "backward_batch",
    "backward_reduce",
    "batch_norm",
    "commit",
    "get_num_threads",
    "memory",
    "merge",
    "normalize",
    "normalize_batch",
    "set_num_threads",
    "show_config",
    "stats",
    "threads",
]
