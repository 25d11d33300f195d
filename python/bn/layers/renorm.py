"""Batch renormalization: the batch's statistics, corrected towards running ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.layers.convention import KERAS
from bn.layers.correction import Correction
from bn.layers.running_stats import Pairs, RunningStats, replaced
from bn.statistics import Stats, commit_moments, trusted
from bn.types import Array


class Renorm(RunningStats):
    """The running statistics of a layer with batch renormalization, and its correction.

    ``y = (x̂·r + d)·gamma + beta`` with ``r = std / renorm_stddev`` and
    ``d = (mean - renorm_mean) / renorm_stddev``, both clipped, and constants in the gradient.

    Parameters
    ----------
    clipping : mapping or None
        "rmin", "rmax" and "dmax", the bounds of r and d; those that are missing do not bound.
    renorm_momentum : float
        The weight of the old value, for `renorm_mean` and `renorm_stddev`.
    eps : float
        Added to the variance under the root of each standard deviation.
    momentum : float
        The weight of the old value, for mean and variance.
    dtype : dtype
        Of all arrays.

    Attributes
    ----------
    stddev : ndarray or None, shape (C,)
        The running standard deviation, ``sqrt(var + eps)``, of which `var` is made.
    renorm_mean, renorm_stddev : ndarray or None, shape (C,)
        What the correction aims at.

    References
    ----------
    Ioffe, "Batch Renormalization", 2017; ``keras.layers.BatchNormalization``, which keeps standard
    deviations where others keep variances.

    Examples
    --------
    >>> import bn
    >>> running = Renorm({"rmax": 3.0}, renorm_momentum=0.9, eps=0.0, momentum=0.9, dtype="f8")
    >>> running.build(np.zeros(1), np.ones(1))
    >>> running.correction(bn.stats(np.array([[-5.0], [5.0]]))).r
    array([3.])
    """

    def __init__(
        self,
        clipping: Mapping[str, float | None] | None,
        renorm_momentum: float,
        eps: float,
        momentum: float | None,
        dtype: DTypeLike,
    ) -> None:
        super().__init__(convention=KERAS, momentum=momentum, dtype=dtype)
        _check.optional_dict("renorm_clipping", clipping)
        given = {k: v for k, v in (clipping or {}).items() if v is not None}
        _check.renorm_clipping(given)
        # a longdouble among them would make the bias one, which no kernel takes
        self.clipping = {name: float(bound) for name, bound in given.items()}
        _check.interval("renorm_momentum", renorm_momentum, 0, 1)
        self.renorm_momentum = renorm_momentum
        self.eps = eps
        self.stddev: Array | None = None
        self.renorm_mean: Array | None = None
        self.renorm_stddev: Array | None = None

    def begun(self, mean: Array, var: Array) -> dict[str, Array]:
        stddev = np.sqrt(var)
        return {
            **super().begun(mean, var),
            "stddev": stddev,
            "renorm_mean": mean.copy(),
            "renorm_stddev": stddev.copy(),
        }

    def arrays(self) -> dict[str, Array]:
        assert self.stddev is not None
        assert self.renorm_mean is not None and self.renorm_stddev is not None
        return {
            **super().arrays(),
            "stddev": self.stddev,
            "renorm_mean": self.renorm_mean,
            "renorm_stddev": self.renorm_stddev,
        }

    def assigning(self, mean: Array, var: Array, where: Array | bool = True) -> Pairs:
        assert self.stddev is not None
        stddev = replaced(self.stddev, np.sqrt(var + self.eps), where)
        return [*super().assigning(mean, var, where), (self.stddev, stddev)]

    def correction(self, batch: Stats) -> Correction:
        """The r and d of a batch."""
        assert self.renorm_stddev is not None and self.renorm_mean is not None
        target = np.maximum(self.renorm_stddev, np.sqrt(self.eps)).astype(np.float64)
        r = np.sqrt(batch.var + self.eps) / target
        d = (batch.mean - self.renorm_mean) / target
        bound = self.clipping.get
        r = np.clip(r, bound("rmin", 0), bound("rmax", np.inf))
        d = np.clip(d, -bound("dmax", np.inf), bound("dmax", np.inf))
        return Correction(r, d, np.ones_like(r))

    def commit(self, new: dict[str, Array], batch: Stats, share: float) -> Array | None:
        """Take a batch into both pairs of averages.

        They are of means and standard deviations. The variance is the square of the standard
        deviation, so it overflows first, and says which channels are not finite.
        """
        mean, var = new["mean"].copy(), new["var"].copy()
        bad = commit_moments(batch, mean, var, share, unbiased=False, nonfinite=self.nonfinite)
        count = batch.count
        if bad is not None and self.nonfinite != "propagate":
            count = np.where(bad, 0, count)
        stddev = np.where(count > 0, np.sqrt(batch.var + self.eps), 0)
        m2 = stddev * count  # so that m2 / count is stddev
        of_stddev = trusted(Stats, count=count, mean=batch.mean, m2=m2)
        for mean_name, stddev_name, weight in (
            ("renorm_mean", "renorm_stddev", self.convention.share(self.renorm_momentum)),
            ("mean", "stddev", share),
        ):
            arrays = new[mean_name], new[stddev_name]
            commit_moments(of_stddev, *arrays, weight, unbiased=False, nonfinite=self.nonfinite)
        with np.errstate(over="ignore"):  # only where an infinity is to propagate
            made = np.maximum(np.square(new["stddev"]) - self.eps, 0)
        np.copyto(new["var"], made, where=count > 0)
        return bad

    def words(self) -> str:
        """What the layer's repr says of it."""
        return f"renorm_momentum={self.renorm_momentum} (old), renorm_clipping={self.clipping}"
