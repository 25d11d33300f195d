"""Loss functions and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn.types import Array

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
        target = self._probabilities(_check.array("target", target), logits)
        count = logits.size // logits.shape[1]
        log_p, saved = (_log_softmax if self.from_logits else _log_clipped)(logits)
        self._saved = (saved, target, count)
        np.copyto(log_p, 0, where=target == 0)  # 0 * -inf would be NaN for a class with logit -inf
        total: np.float64 = np.sum(target * log_p, dtype=np.float64)
        return float(-total / count)

    def backward(self) -> Array:
        """The gradient of the last loss with respect to the logits (or probabilities).

        Returns
        -------
        ndarray
            Of logits' shape and dtype.
        """
        _check.saved("CrossEntropyLoss", self._saved)
        (saved, target, count), self._saved = self._saved, None
        if self.from_logits:
            # The sum is 1 for class indices; labels that the caller gives may have another sum.
            dlogits: Array = saved * target.sum(axis=1, keepdims=True) - target
        else:
            p, total, inside = saved
            dp = np.where(inside, -target / p, 0)
            dlogits = (dp - (dp * p).sum(axis=1, keepdims=True)) / total
        dlogits /= count
        return dlogits

    def _probabilities(self, target: Array, logits: Array) -> Array:
        """The labels as smoothed probabilities, of the shape and dtype of the logits."""
        if target.dtype.kind in "fiub" and target.ndim == logits.ndim:
            _check.shape("target", target, logits.shape)
            _check.all_finite("target", target)
            _check.not_negative("target", target)
            target = target.astype(logits.dtype)
        else:
            _check.class_indices(target, logits.shape)
            classes, target = target, np.zeros_like(logits)
            np.put_along_axis(target, classes[:, None].astype(np.intp), 1, axis=1)
        if self.label_smoothing:
            target *= 1 - self.label_smoothing
            target += self.label_smoothing / logits.shape[1]
        return target


def _log_softmax(logits: Array) -> tuple[Array, Array]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    return shifted - np.log(total), p


def _log_clipped(probabilities: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    total = probabilities.sum(axis=1, keepdims=True)
    p = probabilities / total
    clipped = np.clip(p, KERAS_EPSILON, 1 - KERAS_EPSILON)
    return np.log(clipped), (clipped, total, clipped == p)


class MSELoss:
    r"""Mean squared error over all elements, :math:`\frac{1}{n} \sum (y - t)^2`.

    Raises
    ------
    ValueError
        On a call: the shapes differ, a target is NaN, or the batch is empty.
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
        target = _check.array("target", target).astype(y.dtype, copy=False)
        _check.shape("target", target, y.shape)
        _check.all_finite("target", target)
        difference = y - target
        self._saved = difference
        return float(np.mean(np.square(difference), dtype=np.float64))

    def backward(self) -> Array:
        """The gradient of the last loss with respect to y."""
        _check.saved("MSELoss", self._saved)
        difference, self._saved = self._saved, None
        dy: Array = difference * (2 / difference.size)
        return dy
