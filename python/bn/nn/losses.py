"""Loss functions and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn._core import core
from bn.nn.blocks import BLOCK_BYTES, elementwise, in_rows
from bn.types import Array, Shape

# Keras clips probabilities to [KERAS_EPSILON, 1 - KERAS_EPSILON].
KERAS_EPSILON = 1e-7


class CrossEntropyLoss:
    r"""Cross-entropy of a classifier, the mean over the batch of :math:`-\sum_c t_c \log p_c`.

    Parameters
    ----------
    from_logits : bool
        True, as in PyTorch: the input is logits, and p is their softmax. False, as in Keras's
        categorical cross-entropy: the input is probabilities, which are divided by their sum and
        clipped to [1e-7, 1 - 1e-7].
    label_smoothing : float
        The part of each label, from 0 to 1, that is distributed evenly over all classes.

    Raises
    ------
    ValueError
        `label_smoothing` is out of range. On a call: shapes do not fit, a class index is out of
        range, a label is NaN, or the batch is empty.
    TypeError
        On a call: class indices are not integers.
    RuntimeError
        `backward` without a call before it, or twice.

    References
    ----------
    torch.nn.CrossEntropyLoss, keras.losses.CategoricalCrossentropy.

    Examples
    --------
    >>> criterion = CrossEntropyLoss()
    >>> logits = np.array([[0.0, 0.0], [1000.0, -1000.0]])
    >>> round(criterion(logits, np.array([1, 0])), 6)
    0.346574
    >>> criterion.backward()
    array([[ 0.25, -0.25],
           [ 0.  ,  0.  ]])
    """

    def __init__(self, *, from_logits: bool = True, label_smoothing: float = 0.0) -> None:
        _check.interval("label_smoothing", label_smoothing, 0, 1)
        self.from_logits = from_logits
        self.label_smoothing = float(label_smoothing)
        self._saved: Any = None

    def __call__(self, logits: Array, target: ArrayLike) -> float:
        """The loss.

        Parameters
        ----------
        logits : ndarray, shape (N, C, ...)
            Classes on axis 1; probabilities with ``from_logits=False``.
        target : array_like
            Class indices of shape (N, ...), or probabilities (one-hot rows, for instance) of
            logits' shape.

        Returns
        -------
        float
        """
        _check.floating("logits", logits)
        _check.rank_at_least("logits", logits, 2)
        _check.not_empty("logits", logits)
        target = _check.array("target", target)
        fill = _filling(target, logits.shape)
        log = _log_softmax if self.from_logits else _log_clipped
        labels, p = core.empty_like(logits), core.empty_like(logits)
        total = np.empty((len(logits), 1, *logits.shape[2:]), logits.dtype)
        sums = {}  # of the blocks, by where they begin

        def block(part: tuple[slice, ...]) -> None:
            fill(labels[part], target[part])
            self._smooth(labels[part])
            log_p = log(logits[part], p[part], total[part])
            # 0 * -inf would be NaN for a class with logit -inf
            np.copyto(log_p, 0, where=labels[part] == 0)
            log_p *= labels[part]
            sums[part[0].start] = np.sum(log_p, dtype=np.float64)

        in_rows(block, logits)
        count = logits.size // logits.shape[1]
        self._saved = (p, total, labels, count)
        return float(-_in_order(sums) / count)

    def backward(self) -> Array:
        """The gradient of the last loss with respect to the logits (or probabilities).

        Returns
        -------
        ndarray
            Of logits' shape and dtype.
        """
        _check.saved("CrossEntropyLoss", self._saved)
        (p, total, labels, count), self._saved = self._saved, None
        dlogits = core.empty_like(p)

        def block(part: tuple[slice, ...]) -> None:
            out = dlogits[part]
            if self.from_logits:
                # The sum is 1 for class indices; labels that the caller gives may have another sum.
                np.multiply(p[part], labels[part].sum(axis=1, keepdims=True), out=out)
                out -= labels[part]
            else:
                clipped = _clipped(p[part])
                dp = np.where(clipped == p[part], -labels[part] / clipped, 0)
                np.subtract(dp, (dp * clipped).sum(axis=1, keepdims=True), out=out)
                out /= total[part]
            out /= count

        in_rows(block, p)
        return dlogits

    def _smooth(self, labels: Array) -> None:
        if self.label_smoothing:
            labels *= 1 - self.label_smoothing
            labels += self.label_smoothing / labels.shape[1]


def _in_order(sums: dict[int, np.float64]) -> np.float64:
    """The sum, always in the same order, whichever thread was first."""
    total = np.float64(0)
    for begin in sorted(sums):
        total += sums[begin]
    return total


def _filling(target: Array, shape: Shape) -> Callable[[Array, Array], None]:
    """Check the target for logits of this shape; return what makes labels of a part of it."""
    if target.dtype.kind in "fiub" and target.ndim == len(shape):
        _check.shape("target", target, shape)
        return _fill_with_probabilities
    _check.class_indices(target, shape)
    return _fill_with_classes


def _fill_with_probabilities(labels: Array, target: Array) -> None:
    _check.all_finite("target", target)
    _check.not_negative("target", target)
    labels[...] = target


def _fill_with_classes(labels: Array, target: Array) -> None:
    labels[...] = 0
    np.put_along_axis(labels, target[:, None].astype(np.intp, copy=False), 1, axis=1)


def _log_softmax(logits: Array, p: Array, total: Array) -> Array:
    """Return log p, and write p = softmax(logits) and the sum that it was divided by."""
    shifted: Array = logits - logits.max(axis=1, keepdims=True)
    np.exp(shifted, out=p)
    p.sum(axis=1, keepdims=True, out=total)
    p /= total
    shifted -= np.log(total)
    return shifted


def _log_clipped(probabilities: Array, p: Array, total: Array) -> Array:
    """Return the logarithm of p, clipped, and write p and the sum that it was divided by."""
    probabilities.sum(axis=1, keepdims=True, out=total)
    np.divide(probabilities, total, out=p)
    clipped = _clipped(p)
    log_p: Array = np.log(clipped, out=clipped)
    return log_p


def _clipped(p: Array) -> Array:
    clipped: Array = np.clip(p, KERAS_EPSILON, 1 - KERAS_EPSILON)
    return clipped


class MSELoss:
    r"""Mean squared error over all elements, :math:`\frac{1}{n} \sum (y - t)^2`.

    Raises
    ------
    ValueError
        On a call: the shapes differ, a target is NaN, or the batch is empty.
    TypeError
        On a call: y or target does not hold numbers.
    RuntimeError
        `backward` without a call before it, or twice.

    References
    ----------
    torch.nn.MSELoss.

    Examples
    --------
    >>> criterion = MSELoss()
    >>> criterion(np.array([1.0, 3.0]), np.array([1.0, 1.0])), criterion.backward()
    (2.0, array([0., 2.]))
    """

    def __init__(self) -> None:
        self._saved: Any = None

    def __call__(self, y: Array, target: ArrayLike) -> float:
        """The loss.

        Parameters
        ----------
        y : ndarray
        target : array_like
            Of y's shape.

        Returns
        -------
        float
        """
        _check.floating("y", y)
        _check.not_empty("y", y)
        target = _check.array("target", target)
        _check.shape("target", target, y.shape)
        target = _check.numeric("target", target).astype(y.dtype, copy=False)
        difference = core.empty_like(y)
        (ys, targets), differences = core.runs(y, target), difference.ravel("K")
        sums = {}

        def block(begin: int, end: int) -> None:
            part = slice(begin, end)
            _check.all_finite("target", targets[part])
            each = np.subtract(ys[part], targets[part], out=differences[part])
            square = np.square(each, out=core.empty_like(each))
            sums[begin] = np.sum(square, dtype=np.float64)

        core.in_blocks(block, y.size, BLOCK_BYTES // y.itemsize)
        self._saved = difference
        return float(_in_order(sums) / y.size)

    def backward(self) -> Array:
        """The gradient of the last loss with respect to y."""
        _check.saved("MSELoss", self._saved)
        difference, self._saved = self._saved, None
        factor = 2 / difference.size
        return elementwise(lambda d, out: np.multiply(d, factor, out=out), difference)
