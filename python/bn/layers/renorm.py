"""Batch renormalization: the batch's statistics, corrected towards running ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bn import _check
from bn.layers.base import Correction
from bn.values import Stats, commit

if TYPE_CHECKING:
    from bn.layers.keras import BatchNormalization


class Renorm:
    """``y = (x̂·r + d)·gamma + beta`` with ``r = std / renorm_std``, ``d = (mean - renorm_mean) /
    renorm_std``, both clipped and constants in the gradient.

    References
    ----------
    Ioffe, "Batch Renormalization", 2017; ``keras.layers.BatchNormalization``, which keeps standard
    deviations, ``sqrt(var + epsilon)``, where others keep variances.
    """

    def __init__(self, clipping: Mapping[str, float | None] | None, momentum: float) -> None:
        _check.optional_dict("renorm_clipping", clipping)
        self.clipping = {k: v for k, v in (clipping or {}).items() if v is not None}
        _check.renorm_clipping(self.clipping)
        _check.interval("renorm_momentum", momentum, 0, 1)
        self.momentum = momentum

    def correction(self, layer: BatchNormalization, batch: Stats) -> Correction:
        assert layer.renorm_stddev is not None and layer.renorm_mean is not None
        target = np.maximum(layer.renorm_stddev, np.sqrt(layer.eps)).astype(np.float64)
        r = np.sqrt(batch.var + layer.eps) / target
        d = (batch.mean - layer.renorm_mean) / target
        bound = self.clipping.get
        r = np.clip(r, bound("rmin", 0), bound("rmax", np.inf))
        d = np.clip(d, -bound("dmax", np.inf), bound("dmax", np.inf))
        return Correction(r, d, np.ones_like(r))

    def commit(self, layer: BatchNormalization, batch: Stats, share: float) -> int:
        """Into both averages, as means and standard deviations; the variance follows from them."""
        assert layer.moving_stddev is not None and layer.running_var is not None
        assert layer.running_mean is not None
        assert layer.renorm_mean is not None and layer.renorm_stddev is not None
        std = np.sqrt(batch.var + layer.eps)
        of_std = Stats(batch.count, batch.mean, std * batch.count)  # whose biased "variance" is std
        options = {"unbiased": False, "nonfinite": layer.nonfinite}
        slow = layer.convention.share(self.momentum)
        commit(of_std, layer.renorm_mean, layer.renorm_stddev, slow, **options)  # type: ignore[arg-type]
        skipped = commit(of_std, layer.running_mean, layer.moving_stddev, share, **options)  # type: ignore[arg-type]
        layer.running_var[...] = np.maximum(np.square(layer.moving_stddev) - layer.eps, 0)
        return skipped

    def __repr__(self) -> str:
        return f"renorm_momentum={self.momentum} (old), renorm_clipping={self.clipping}"
