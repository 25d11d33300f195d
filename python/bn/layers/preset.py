"""Any framework's batch normalization, by name."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.layers.batch_norm import BatchNorm
from bn.layers.convention import CONVENTIONS
from bn.layers.running_stats import RunningStats


class PresetBatchNorm(BatchNorm):
    """Batch normalization of any rank from 2 up with a framework's conventions; see `preset`.

    Parameters
    ----------
    running, num_features, eps, axis, scale, center, tracked
        As in `BatchNorm`; `preset` fills them in.

    Attributes
    ----------
    weight, bias : Parameter or None, shape (C,)
    running_mean, running_var : ndarray, shape (C,)
    convention : Convention

    Examples
    --------
    >>> import bn
    >>> isinstance(bn.preset("flax", 3), PresetBatchNorm)
    True
    """

    buffer_names: ClassVar[tuple[str, ...]] = (
        "running_mean",
        "running_var",
        "num_batches_tracked",
    )

    def extra_repr(self) -> str:
        return (
            f"{self.convention.name}: {self.num_features}, eps={self.eps}, "
            f"{self.convention.words(self.momentum)}, scale={self.has_weight}, "
            f"center={self.has_bias}, axis={self.axis}{self.choices()}"
        )


def preset(
    framework: str,
    num_features: int | None = None,
    *,
    momentum: float | Literal["default"] | None = "default",
    eps: float | None = None,
    axis: int | None = None,
    scale: bool = True,
    center: bool = True,
    start: str = "plain",
    dtype: DTypeLike = np.float32,
) -> PresetBatchNorm:
    """A batch normalization layer that keeps and uses statistics as a framework does.

    Parameters
    ----------
    framework : {"torch", "keras", "flax", "onnx", "mxnet", "darknet"}
        Says what momentum is the weight of, which variance is kept, and the defaults.
    num_features : int, optional
        The number of channels; learned from the first batch if it is not given.
    momentum : float or None, optional
        In the framework's own meaning; None averages all batches alike.
    eps, axis : optional
        None for the framework's default.
    scale, center : bool, default True
        Have a weight; have a bias. (MXNet's operator has ``fix_gamma=True``: ``scale=False``.)
    start : {"plain", "debiased", "first", "cumulative"}
        How the first batches count: as they are ("plain"); without the share of the initial 0 and 1
        ("debiased", as Haiku's averages); the first one taken whole ("first", as Equinox's "ema");
        all alike ("cumulative").
    dtype : dtype, default float32
        Of parameters and running statistics.

    Returns
    -------
    PresetBatchNorm

    Raises
    ------
    ValueError
        An unknown framework, or a value out of range.

    Examples
    --------
    >>> preset("flax", 3)
    PresetBatchNorm(flax: 3, eps=1e-05, momentum=0.99 (old), running_var=biased, scale=True, \
center=True, axis=-1)
    """
    _check.choice("framework", framework, tuple(CONVENTIONS))
    convention = CONVENTIONS[framework]
    eps = convention.eps if eps is None else eps
    _check.eps(eps)
    return PresetBatchNorm(
        RunningStats(convention=convention, momentum=momentum, start=start, dtype=dtype),
        num_features,
        eps,
        convention.axis if axis is None else axis,
        scale=scale,
        center=center,
    )
