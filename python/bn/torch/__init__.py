"""`bn`'s normalizations in PyTorch's models, on CPUs.

``bn.torch.accelerate(model)`` swaps them into a model. It needs an extra,
``pip install '.[torch]'``; `bn` imports this package, and PyTorch with it, when
``bn.torch`` is used.
"""

from bn import _check

_check.torch_package()

from bn.torch import operators as operators  # noqa: E402, which defines them
from bn.torch.accelerate import Acceleration, Change, accelerate, restore  # noqa: E402
from bn.torch.converting import from_bn, to_bn  # noqa: E402
from bn.torch.functional import batch_norm, group_norm, layer_norm  # noqa: E402
from bn.torch.modules import (  # noqa: E402
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    BatchNormAddReLU2d,
    BatchNormReLU2d,
    GroupNorm,
    LayerNorm,
)
from bn.torch.sync import Communicator, SyncBatchNorm  # noqa: E402

__all__ = [
    "Acceleration",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "BatchNormAddReLU2d",
    "BatchNormReLU2d",
    "Change",
    "Communicator",
    "GroupNorm",
    "LayerNorm",
    "SyncBatchNorm",
    "accelerate",
    "batch_norm",
    "from_bn",
    "group_norm",
    "layer_norm",
    "restore",
    "to_bn",
]
