"""Batch renormalization: the batch's statistics, corrected towards running ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bn import _check
from bn.layers.batch_norm import Correction
from bn.module import Array
from bn.statistics import Stats, commit_checked

if TYPE_CHECKING:
    from bn.layers.keras_style import BatchNormalization


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

    def commit(
        self, layer: BatchNormalization, new: dict[str, Array], batch: Stats, share: float
    ) -> Array:
        """Take a batch into the new values of both averages; returns what is not finite.

        They are means and standard deviations; the variance follows from them, and says first
        which channels it could not hold.
        """
        mean, var, nonfinite = new["running_mean"], new["running_var"], layer.nonfinite
        bad = commit_checked(
            batch, mean.copy(), var.copy(), share, unbiased=False, nonfinite=nonfinite
        )
        count = batch.count if nonfinite == "propagate" else np.where(bad, 0, batch.count)
        stddev = np.sqrt(batch.var + layer.eps)
        total = np.where(count > 0, stddev, 0) * count
        of_stddev = Stats(count, batch.mean, total)  # its biased "variance" is stddev
        slow = layer.convention.share(self.momentum)
        for mean_name, stddev_name, weight in (
            ("renorm_mean", "renorm_stddev", slow),
            ("running_mean", "moving_stddev", share),
        ):
            arrays = new[mean_name], new[stddev_name]
            bad |= commit_checked(of_stddev, *arrays, weight, unbiased=False, nonfinite=nonfinite)
        with np.errstate(over="ignore"):  # only where an infinity is to propagate
            variance = np.maximum(np.square(new["moving_stddev"]) - layer.eps, 0)
        np.copyto(var, variance, where=count > 0)
        return bad

    def __repr__(self) -> str:
        return f"renorm_momentum={self.momentum} (old), renorm_clipping={self.clipping}"
