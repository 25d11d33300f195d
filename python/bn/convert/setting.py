"""`Setting`: what a batch normalization computes, as numbers that mean the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from bn import _check
from bn.layers import BatchNorm
from bn.parameter import Parameter
from bn.types import Array

Variance: TypeAlias = Literal["exact", "as is"] | int
NOT_BUILT = "it has no channels yet, so call build(input_shape)"
KINDS = {True: "unbiased, m2 / (M - 1)", False: "biased, m2 / M"}


@dataclass(frozen=True, eq=False)
class Setting:
    """What a batch normalization computes.

    Attributes
    ----------
    eps : float
    eps_outside : bool
        ``y = (x - mean) / (sqrt(var) + eps)`` in place of ``(x - mean) / sqrt(var + eps)``.
    normalizes_unbiased : bool
        In training, var is m2 / (M - 1), else m2 / M.
    share : float or None
        The weight of the newest batch in the running statistics; None averages all batches alike.
    unbiased : bool
        The running variance is m2 / (M - 1), else m2 / M.
    axis : int
        The channel axis.
    weight, bias : ndarray or None
    mean, var : ndarray or None
        The running statistics.
    count : int
        The number of batches in them.
    training : bool
        Whether the statistics of the batch normalize, and enter the running ones.

    Examples
    --------
    >>> import bn
    >>> found = setting_of(bn.BatchNormalization(momentum=0.9))
    >>> found.share, found.unbiased, found.eps
    (0.1, False, 0.001)
    """

    eps: float
    eps_outside: bool
    normalizes_unbiased: bool
    share: float | None
    unbiased: bool
    axis: int
    weight: Array | None
    bias: Array | None
    mean: Array | None
    var: Array | None
    count: int
    training: bool

    def in_mode(self, training: bool) -> Setting:
        """The same in another mode."""
        return replace(self, training=training)


def setting_of(layer: BatchNorm) -> Setting:
    """The setting of a layer; its arrays are copies.

    Parameters
    ----------
    layer : BatchNorm

    Returns
    -------
    Setting
    """
    convention, momentum, count = layer.convention, layer.momentum, layer.num_batches_tracked
    return Setting(
        eps=float(layer.eps),
        eps_outside=convention.eps_outside_root,
        normalizes_unbiased=convention.eps_outside_root,
        share=None if momentum is None else convention.share(momentum),
        unbiased=convention.unbiased,
        axis=int(layer.axis),
        weight=copied(layer.weight),
        bias=copied(layer.bias),
        mean=copied(layer.running_mean),
        var=copied(layer.running_var),
        count=0 if count is None else int(count),
        training=layer.uses_batch_stats(layer.training),
    )


def copied(values: Parameter | Array | None) -> Array | None:
    return None if values is None else np.array(values)


def exact_setting(layer: BatchNorm, side: str) -> Setting:
    """The setting of a layer that has nothing which only `bn` has.

    Parameters
    ----------
    layer : BatchNorm
    side : str
        The framework that it is for, in messages.

    Returns
    -------
    Setting

    Raises
    ------
    ValueError
        The layer has something else; the message names it.
    """
    for reason, holds in {
        NOT_BUILT: not layer.built,
        "its eps stands outside the root": layer.convention.eps_outside_root,
        f"start={layer.start!r} weights the first batches in another way": layer.start != "plain",
    }.items():
        if holds:
            raise _check.not_exact(layer, side, reason)
    return setting_of(layer)


def refuse_renorm(layer: BatchNorm, side: str) -> None:
    """Check that a layer does no batch renormalization, which few frameworks have."""
    if layer.corrects and not layer.convention.eps_outside_root:
        raise _check.not_exact(layer, side, "it corrects towards running statistics (renorm)")


def refuse_frozen(layer: BatchNorm, side: str) -> None:
    """Check that a layer follows its mode, as layers of most frameworks do."""
    follows = layer.use_batch_stats is None and layer.update_stats is None
    if not (follows and layer.train_affine):
        raise _check.not_exact(layer, side, "it is frozen, so call bn.unfreeze")


def momentum_of_old(layer: BatchNorm, setting: Setting, side: str) -> float:
    """The momentum of frameworks where it is the weight of the old value."""
    if setting.share is None:
        raise _check.not_exact(layer, side, "momentum=None averages all batches alike")
    return round(1 - setting.share, 15)


def variance_as(
    layer: BatchNorm, setting: Setting, side: str, unbiased: bool, variance: Variance
) -> Array | None:
    """The running variance of the kind that a framework keeps.

    Parameters
    ----------
    layer : BatchNorm
    setting : Setting
        Of the layer.
    side : str
        The framework, in messages.
    unbiased : bool
        The kind that it keeps.
    variance : {"exact", "as is"} or int
        What becomes of the other kind: it is refused; it is copied; it is converted for batches
        with so many values of a channel.

    Returns
    -------
    ndarray or None
    """
    _check.variance(variance)
    if setting.var is None or setting.unbiased == unbiased or variance == "as is":
        return setting.var
    if isinstance(variance, str):
        raise _check.not_exact(
            layer,
            side,
            f"its running variance is {KINDS[setting.unbiased]}, and {side} keeps "
            f"{KINDS[unbiased]}: give variance=M, the number of values of a channel in a batch, "
            "or variance='as is' for a layer that only predicts",
        )
    factor = variance / (variance - 1)
    converted: Array = setting.var * setting.var.dtype.type(factor if unbiased else 1 / factor)
    return converted
