"""`CrossEntropyLoss`: the loss of a classifier."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn._core import core
from bn.arrays import takes_arrays
from bn.nn.blocks import in_rows
from bn.nn.labels import Labels
from bn.nn.reduction import Loss, in_order
from bn.types import Array

# Keras clips probabilities to [KERAS_EPSILON, 1 - KERAS_EPSILON].
KERAS_EPSILON = 1e-7


class Saved(NamedTuple):
    """Probabilities, what they were divided by, labels, and how many positions count."""

    p: Array
    total: Array
    labels: Array
    positions: float


class CrossEntropyLoss(Loss):
    r"""Cross-entropy of a classifier, :math:`-\sum_c w_c t_c \log p_c`; its mean over the batch.

    Parameters
    ----------
    weight : array_like or None, shape (C,)
        The weights w of the classes; None stands for 1.
    ignore_index : int
        Positions with this class index cost nothing and do not count.
    reduction : {"mean", "sum", "none"}
        What becomes of the losses of all positions: their mean, their sum, or an array of them. For
        class indices the mean divides by the sum of the weights of the right classes, for
        probabilities by the number of positions; with `sample_weight`, each counts with its own.
    label_smoothing : float
        The part of each label, from 0 to 1, that is distributed evenly over all classes.
    from_logits : bool
        True, as in PyTorch: the input is logits, and p is their softmax. False, as in Keras's
        categorical cross-entropy: the input is probabilities, which are divided by their sum and
        clipped to [1e-7, 1 - 1e-7]. The sum must be 1 to 1 %, or they are taken for logits.

    Raises
    ------
    ValueError
        `label_smoothing` is out of range, `reduction` is another word, or `weight` is no vector of
        finite numbers of at least 0. On a call: shapes do not fit, a class index is out of range, a
        label is NaN, the batch is empty, or with ``from_logits=False`` the input is no
        probabilities.
    TypeError
        `ignore_index` is not an integer. On a call: class indices are not integers.
    RuntimeError
        `backward` without a call before it, or twice.

    See Also
    --------
    BCEWithLogitsLoss : For two classes, or classes of which several may be right.

    Notes
    -----
    If all targets are ignored, the mean is NaN, as in PyTorch, and the gradient is 0. A class with
    a logit of -inf has the probability 0, and one with a logit of infinity the probability 1, where
    PyTorch gives NaN.

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
    >>> CrossEntropyLoss(reduction="none")(logits, np.array([1, -100])).round(6)
    array([0.693147, 0.      ])
    """

    option_names = ("weight", "ignore_index", "reduction", "label_smoothing", "from_logits")

    def __init__(
        self,
        weight: ArrayLike | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        from_logits: bool = True,
    ) -> None:
        super().__init__(reduction)
        _check.flag("from_logits", from_logits)
        _check.interval("label_smoothing", label_smoothing, 0, 1)
        self.weight = _check.optional_weights("weight", weight)
        self.ignore_index = _check.integer("ignore_index", ignore_index)
        self.label_smoothing = float(label_smoothing)
        self.from_logits = from_logits

    @takes_arrays
    def __call__(
        self, logits: Array, target: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> float | Array:
        """The loss.

        Parameters
        ----------
        logits : ndarray, shape (N, C, ...)
            Classes on axis 1; probabilities with ``from_logits=False``.
        target : array_like
            Class indices of shape (N, ...) or (N, 1, ...), or probabilities (one-hot rows, for
            instance) of logits' shape.
        sample_weight : array_like or None, shape (N,) or (N, ...)
            With which the losses of samples, or of their positions, are multiplied. In the mean a
            sample of weight 2 counts as two.

        Returns
        -------
        float or ndarray
            An array of shape (N, ...) and of logits' dtype with ``reduction="none"``.
        """
        _check.floating("logits", logits)
        _check.rank_at_least("logits", logits, 2)
        _check.not_empty("logits", logits)
        make = Labels(target, logits, self, sample_weight)
        log = _log_softmax if self.from_logits else _log_clipped
        labels, p = core.empty_like(logits), core.empty_like(logits)
        total = np.empty((len(logits), 1, *logits.shape[2:]), logits.dtype)
        each = np.empty_like(total[:, 0]) if self.reduction == "none" else None
        sums, counts = {}, {}  # of the blocks, by where they begin

        def block(part: tuple[slice, ...]) -> None:
            begin = part[0].start
            counts[begin] = make.fill(labels[part], part)
            log_p = log(logits[part], p[part], total[part])
            if not self.from_logits:
                _check.probabilities("logits", logits[part], total[part], labels[part])
            # 0 * -inf would be NaN for a class with logit -inf
            np.copyto(log_p, 0, where=labels[part] == 0)
            log_p *= labels[part]
            if each is not None:
                np.subtract(0, log_p.sum(axis=1), out=each[part])
            sums[begin] = np.sum(log_p, dtype=np.float64)

        in_rows(block, logits)
        count = float(in_order(counts))
        self._saved = Saved(p, total, labels, count)
        return each if each is not None else self._reduced(-in_order(sums), count)

    def backward(self, dloss: ArrayLike = 1.0) -> Array:
        """The gradient of the last loss with respect to the logits (or probabilities).

        Parameters
        ----------
        dloss : array_like
            The gradient of what the call returned: a number, or with ``reduction="none"`` an array
            of the losses' shape. The default gives the gradient of the loss, or of the losses' sum.

        Returns
        -------
        ndarray
            Of logits' shape and dtype.
        """
        _check.saved("CrossEntropyLoss", self._saved)
        p, total, labels, count = self._saved
        factor = self._factor(dloss, total[:, 0].shape, count)
        if not isinstance(factor, float):
            factor = factor[:, None].astype(p.dtype)
        self._saved = None
        dlogits = core.empty_like(p)

        def block(part: tuple[slice, ...]) -> None:
            out = dlogits[part]
            # The sum is 1 for class indices without weights.
            label_sums = labels[part].sum(axis=1, keepdims=True)
            if self.from_logits:
                np.multiply(p[part], label_sums, out=out)
                out -= labels[part]
            else:
                clipped = _clipped(p[part])
                dp = np.where(clipped == p[part], -labels[part] / clipped, 0)
                np.subtract(dp, (dp * clipped).sum(axis=1, keepdims=True), out=out)
                out /= total[part]
            out *= factor if isinstance(factor, float) else factor[part]
            if not label_sums.all():  # what is ignored has no gradient, be p NaN
                np.copyto(out, 0, where=label_sums == 0)

        in_rows(block, p)
        return dlogits


def _log_softmax(logits: Array, p: Array, total: Array) -> Array:
    """Return log p, and write p = softmax(logits) and the sum that it was divided by."""
    largest = logits.max(axis=1, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):  # -inf and NaN are right, or corrected below
        shifted: Array = logits - largest
    if (largest == np.inf).any():
        # The limit of one logit that grows; of two, none is known, and NaN stays.
        top = logits == np.inf
        np.copyto(shifted, 0, where=top & (top.sum(axis=1, keepdims=True) == 1))
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
