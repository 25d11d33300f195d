"""Batch normalization that stays as it is while the rest of a model trains."""

from __future__ import annotations

from typing import TypeVar

from bn import _check
from bn.layers.batch_norm import batch_norms
from bn.module import Module

Model = TypeVar("Model", bound=Module)


def freeze(
    model: Model,
    *,
    use_batch_stats: bool | None = False,
    update_stats: bool | None = False,
    train_affine: bool = False,
) -> Model:
    """Set the three knobs of all batch normalizations in a model; `train` does not undo them.

    Parameters
    ----------
    model : Module
        A layer or a model.
    use_batch_stats : bool or None, default False
        Normalize with the batch's statistics; False: with the running ones; None: as train() and
        eval() say.
    update_stats : bool or None, default False
        Update the running statistics; None: as train() and eval() say.
    train_affine : bool, default False
        Let `backward` add to the gradients of weight and bias. If False they get none, and
        optimizers skip them.

    Returns
    -------
    Module
        The model itself.

    Raises
    ------
    ValueError
        The model has no batch normalization layers, so nothing would be frozen.

    Examples
    --------
    >>> import bn, numpy as np
    >>> layer = freeze(bn.BatchNorm1d(3)).train()
    >>> y = layer(np.ones((20, 3), np.float32))
    >>> layer.running_mean
    array([0., 0., 0.], dtype=float32)
    """
    _set_knobs("freeze", model, use_batch_stats, update_stats, train_affine)
    return model


def unfreeze(model: Model) -> Model:
    """Undo `freeze`: the batch normalizations follow `train` and `eval` again.

    Parameters
    ----------
    model : Module
        A layer or a model.

    Returns
    -------
    Module
        The model itself.

    Raises
    ------
    ValueError
        The model has no batch normalization layers.

    Examples
    --------
    >>> import bn
    >>> unfreeze(freeze(bn.BatchNorm1d(3))).train_affine
    True
    """
    _set_knobs("unfreeze", model, None, None, True)
    return model


def _set_knobs(
    user: str,
    model: Module,
    use_batch_stats: bool | None,
    update_stats: bool | None,
    train_affine: bool,
) -> None:
    layers = [layer for _, layer in batch_norms(model)]
    _check.any_batch_norm(user, type(model).__name__, len(layers))
    for layer in layers:
        layer.use_batch_stats = use_batch_stats
        layer.update_stats = update_stats
        layer.train_affine = train_affine
