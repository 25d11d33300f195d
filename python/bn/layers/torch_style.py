"""`BatchNorm1d`, `BatchNorm2d`, `BatchNorm3d`: PyTorch's names, defaults and conventions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.layers.batch_norm import BatchNorm
from bn.layers.convention import TORCH
from bn.layers.running_stats import RunningStats

_DOC = """Batch normalization of {what}, with PyTorch's conventions.

    ``y = (x - mean) / sqrt(var + eps) · weight + bias`` for each channel. In training, mean and var
    (biased) are the batch's, and the running statistics follow:
    ``running = (1 - momentum)·running + momentum·batch``, with the unbiased variance m2 / (M - 1)
    of the M values of a channel. In eval mode they are the running ones.

    Parameters
    ----------
    num_features : int or None
        The number of channels C; None learns it from the first batch, or from `build`, as PyTorch's
        lazy layers do.
    eps : float, default 1e-5
        Added to the variance; at least 0.
    momentum : float or None, default 0.1
        The weight of the new value, from 0 to 1; None averages all batches alike.
    affine : bool, default True
        Have a trainable `weight` (ones at first) and `bias` (zeros).
    track_running_stats : bool, default True
        Keep running statistics. Without them eval mode uses the batch's as well.
    bias : bool, default True
        With ``affine``: False has a weight but no bias.
    axis : int, default 1
        The channel axis; -1 for channels-last.
    dtype : dtype, default float32
        Of parameters and running statistics, float32 or float64; x may have any dtype
        that `bn.stats` takes.

    Attributes
    ----------
    weight, bias : Parameter or None, shape (C,)
    running_mean, running_var : ndarray or None, shape (C,)
    num_batches_tracked : ndarray of int64 or None, shape ()
    use_batch_stats, update_stats, train_affine, nonfinite, start
        Freezing, batches that are not finite, the weight of the first batches: see
        `bn.BatchNorm`.

    Raises
    ------
    TypeError, ValueError
        From forward: x is not {what} of a floating dtype with C channels, or a channel has a
        single value in training. Nothing has changed then.

    References
    ----------
    Ioffe & Szegedy, "Batch Normalization", 2015; ``torch.nn.{name}``.

    Examples
    --------
    >>> layer = {name}(3)
    >>> y = layer(np.ones({shape}, np.float32))
    >>> layer.running_mean
    array([0.1, 0.1, 0.1], dtype=float32)
    >>> layer.backward(np.ones_like(y)).shape
    {shape}
    """


class _TorchBatchNorm(BatchNorm):
    buffer_names: ClassVar[tuple[str, ...]] = (
        "running_mean",
        "running_var",
        "num_batches_tracked",
    )

    def __init__(
        self,
        num_features: int | None,
        eps: float = TORCH.eps,
        momentum: float | None = TORCH.momentum,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        axis: int = TORCH.axis,
        dtype: DTypeLike = np.float32,
    ) -> None:
        _check.eps(eps)
        _check.flag("affine", affine)
        _check.flag("track_running_stats", track_running_stats)
        _check.flag("bias", bias)
        self.affine = affine
        self.track_running_stats = track_running_stats
        super().__init__(
            RunningStats(convention=TORCH, momentum=momentum, dtype=dtype),
            num_features,
            eps,
            axis,
            scale=affine,
            center=affine and bias,
            tracked=track_running_stats,
        )

    @property
    def tracks(self) -> bool:
        return self.track_running_stats and super().tracks

    def extra_repr(self) -> str:
        text = (
            f"{self.num_features}, eps={self.eps}, {self.convention.words(self.momentum)}, "
            f"affine={self.affine}, bias={self.has_bias}, "
            f"track_running_stats={self.track_running_stats}{self.choices()}"
        )
        return text if self.axis == 1 else f"{text}, axis={self.axis}"


class BatchNorm1d(_TorchBatchNorm):
    __doc__ = _DOC.format(what="(N, C) or (N, C, L)", name="BatchNorm1d", shape=(8, 3))
    ranks = (2, 3)


class BatchNorm2d(_TorchBatchNorm):
    __doc__ = _DOC.format(what="(N, C, H, W)", name="BatchNorm2d", shape=(8, 3, 4, 4))
    ranks = (4,)


class BatchNorm3d(_TorchBatchNorm):
    __doc__ = _DOC.format(what="(N, C, D, H, W)", name="BatchNorm3d", shape=(8, 3, 2, 4, 4))
    ranks = (5,)
