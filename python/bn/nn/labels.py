"""`Labels`: the targets of a classifier as a weighted probability of each class."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn.types import Array, Shape


class Options(Protocol):
    """Those of a loss that change its labels."""

    weight: Array | None
    ignore_index: int
    label_smoothing: float


class Labels:
    """Smoothed probabilities, times the weights of classes and samples; 0 for what is ignored.

    Parameters
    ----------
    target : array_like
        Class indices, or probabilities.
    logits : ndarray, shape (N, C, ...)
    options : CrossEntropyLoss
    sample_weight : array_like or None
    """

    def __init__(
        self, target: ArrayLike, logits: Array, options: Options, sample_weight: ArrayLike | None
    ) -> None:
        shape, dtype = logits.shape, logits.dtype
        self.options = options
        self.target, self.indices = _checked_target(target, shape, options.ignore_index)
        self.class_weight = self.sample_weight = None
        if options.weight is not None:
            _check.shape("weight", options.weight, shape[1:2])
            vector = options.weight.astype(dtype)
            self.class_weight = vector.reshape(-1, *[1] * (len(shape) - 2))
        if sample_weight is not None:
            weights = _check.position_weights("sample_weight", sample_weight, shape)
            self.sample_weight = np.broadcast_to(weights.astype(dtype), (shape[0], 1, *shape[2:]))

    def fill(self, labels: Array, part: tuple[slice, ...]) -> np.float64:
        """Write the labels of a part of the batch; return how many positions the mean counts."""
        target = self.target[part]
        if self.indices:
            counted = _fill_with_classes(labels, target, self.options.ignore_index)
        else:
            counted = _fill_with_probabilities(labels, target)
        if self.indices and self.class_weight is not None:
            # They count with the weights of their right classes, before these are smoothed.
            counted = (labels * self.class_weight).sum(axis=1, keepdims=True)
        smoothing = self.options.label_smoothing
        if smoothing:
            labels *= 1 - smoothing
            labels += smoothing / labels.shape[1]
            if self.indices:
                labels *= target[:, None] != self.options.ignore_index
        if self.class_weight is not None:
            labels *= self.class_weight
        if self.sample_weight is not None:
            labels *= self.sample_weight[part]
            counted = counted * self.sample_weight[part]
        return np.sum(counted, dtype=np.float64)


def _checked_target(target: ArrayLike, shape: Shape, ignore_index: int) -> tuple[Array, bool]:
    """The target for logits of this shape, and whether it holds class indices."""
    found = _check.array("target", target)
    if found.dtype.kind in "iu" and found.shape == (shape[0], 1, *shape[2:]) != shape:
        found = found[:, 0]
    if found.dtype.kind in "fiub" and found.ndim == len(shape):
        _check.shape("target", found, shape)
        _check.ignores_no_probabilities(ignore_index)
        return found, False
    _check.class_indices(found, shape, ignore_index)
    return found, True


def _fill_with_probabilities(labels: Array, target: Array) -> Array:
    _check.all_finite("target", target)
    _check.not_negative("target", target)
    labels[...] = target
    return np.ones_like(labels[:, :1])


def _fill_with_classes(labels: Array, target: Array, ignore_index: int) -> Array:
    """Write 1 for the right class; return 1 for each position, but 0 for the ignored ones."""
    counted: Array = (target != ignore_index)[:, None]
    indices = np.where(counted, target[:, None], 0).astype(np.intp, copy=False)
    labels[...] = 0
    np.put_along_axis(labels, indices, counted.astype(labels.dtype), axis=1)
    return counted
