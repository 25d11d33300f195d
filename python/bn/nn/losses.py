"""Losses of each value by itself, and their gradients."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn._core import core
from bn.arrays import takes_arrays
from bn.nn.blocks import BLOCK_BYTES, elementwise
from bn.nn.reduction import Loss, in_order
from bn.types import Array


class ElementwiseLoss(Loss):
    """A loss of each value of an array and the target at its place.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        The mean or the sum of the losses of all values, or an array of them.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    @takes_arrays
    def __call__(
        self, y: Array, target: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> float | Array:
        """The loss.

        Parameters
        ----------
        y : ndarray
        target : array_like
            Of y's shape.
        sample_weight : array_like or None, shape (N,) or y's shape
            With which the losses of samples, or of their values, are multiplied. In the mean a
            sample of weight 2 counts as two.

        Returns
        -------
        float or ndarray
            An array of y's shape and dtype with ``reduction="none"``.
        """
        return self._call("y", y, target, sample_weight)

    def backward(self, dloss: ArrayLike = 1.0) -> Array:
        """The gradient of the last loss with respect to the first argument.

        Parameters
        ----------
        dloss : array_like
            The gradient of what the call returned: a number, or with ``reduction="none"`` an array
            of the losses' shape. The default gives the gradient of the loss, or of the losses' sum.

        Returns
        -------
        ndarray
            Of the first argument's shape and dtype.
        """
        _check.saved(type(self).__name__, self._saved)
        slope = self._saved
        factor = self._factor(dloss, slope.shape, self.count)
        self._saved = None
        if not isinstance(factor, float):
            return elementwise(np.multiply, slope, factor.astype(slope.dtype))
        return elementwise(lambda s, out: np.multiply(s, factor, out=out), slope)

    def _call(
        self, name: str, y: Array, target: ArrayLike, sample_weight: ArrayLike | None
    ) -> float | Array:
        _check.floating(name, y)
        _check.not_empty(name, y)
        target = _check.array("target", target)
        _check.shape("target", target, y.shape)
        target = _check.numeric("target", target).astype(y.dtype, copy=False)
        keeps = self.reduction == "none"
        if sample_weight is None:
            each, slope, total = self._computed(y, target, keeps)
            count = float(y.size)
        else:
            weights = _check.value_weights("sample_weight", sample_weight, y.shape)
            each, slope, total = self._weighted(y, target, weights)
            count = float(weights.sum(dtype=np.float64))
        self._saved = slope
        loss = self._reduced(total, count)
        return each if keeps and each is not None else loss

    def _weighted(self, y: Array, target: Array, weights: Array) -> tuple[Array, Array, np.float64]:
        """The same as `_computed`, each value times its weight."""
        each, slope, _ = self._computed(y, target, True)
        assert each is not None
        weights = weights.astype(y.dtype)
        for values in (each, slope):
            with np.errstate(invalid="ignore"):  # what does not count may be infinite
                np.multiply(values, weights, out=values)
            np.copyto(values, 0, where=weights == 0)
        return each, slope, _sum(each)

    def _computed(
        self, y: Array, target: Array, keeps: bool
    ) -> tuple[Array | None, Array, np.float64]:
        """The losses, or None unless they are kept; their derivatives by y; their sum."""
        slope, each = core.empty_like(y), core.empty_like(y) if keeps else None
        (ys, targets), slopes = core.runs(y, target), slope.ravel("K")
        losses = None if each is None else each.ravel("K")
        sums = {}

        def block(begin: int, end: int) -> None:
            part = slice(begin, end)
            _check.all_finite("target", targets[part])
            out = core.empty_like(ys[part]) if losses is None else losses[part]
            self._values(ys[part], targets[part], out, slopes[part])
            sums[begin] = np.sum(out, dtype=np.float64)

        core.in_blocks(block, y.size, BLOCK_BYTES // y.itemsize)
        return each, slope, in_order(sums)

    def _values(self, y: Array, target: Array, loss: Array, slope: Array) -> None:
        """Write the losses, and their derivatives by y."""
        raise NotImplementedError


class MSELoss(ElementwiseLoss):
    r"""Squared error, :math:`(y - t)^2`; its mean over all elements.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        The mean or the sum of the losses of all values, or an array of them.

    Raises
    ------
    ValueError
        `reduction` is another word. On a call: the shapes differ, a target is NaN, or the batch is
        empty.
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

    def _values(self, y: Array, target: Array, loss: Array, slope: Array) -> None:
        difference = np.subtract(y, target, out=slope)
        np.square(difference, out=loss)
        np.multiply(difference, 2, out=slope)


class L1Loss(ElementwiseLoss):
    r"""Absolute error, :math:`|y - t|`; its mean over all elements.

    Where y is the target, the gradient is 0.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        The mean or the sum of the losses of all values, or an array of them.

    Raises
    ------
    ValueError
        `reduction` is another word. On a call: the shapes differ, a target is NaN, or the batch is
        empty.
    TypeError
        On a call: y or target does not hold numbers.
    RuntimeError
        `backward` without a call before it, or twice.

    References
    ----------
    torch.nn.L1Loss.

    Examples
    --------
    >>> criterion = L1Loss(reduction="sum")
    >>> criterion(np.array([1.0, 3.0]), np.array([1.0, 1.0])), criterion.backward()
    (2.0, array([0., 1.]))
    """

    def _values(self, y: Array, target: Array, loss: Array, slope: Array) -> None:
        difference = np.subtract(y, target, out=slope)
        np.abs(difference, out=loss)
        np.sign(difference, out=slope)


class SmoothL1Loss(ElementwiseLoss):
    r"""A parabola near 0 that becomes the absolute error; its mean over all elements.

    The loss of a difference d is :math:`d^2 / (2 \beta)` where :math:`|d| < \beta`, otherwise
    :math:`|d| - \beta / 2`.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        The mean or the sum of the losses of all values, or an array of them.
    beta : float
        Where the parabola ends. With 0 the loss is that of `L1Loss`.

    Raises
    ------
    ValueError
        `reduction` is another word, or beta is not a number of at least 0. On a call: the shapes
        differ, a target is NaN, or the batch is empty.
    TypeError
        On a call: y or target does not hold numbers.
    RuntimeError
        `backward` without a call before it, or twice.

    References
    ----------
    torch.nn.SmoothL1Loss.

    Examples
    --------
    >>> criterion = SmoothL1Loss(reduction="none")
    >>> criterion(np.array([0.5, 3.0]), np.zeros(2)), criterion.backward()
    (array([0.125, 2.5  ]), array([0.5, 1. ]))
    """

    option_names = ("reduction", "beta")

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        _check.at_least("beta", beta, 0)
        self.beta = float(beta)

    def _values(self, y: Array, target: Array, loss: Array, slope: Array) -> None:
        difference = np.subtract(y, target, out=slope)
        distance = np.abs(difference, out=loss)
        if self.beta == 0:
            np.sign(difference, out=slope)
            return
        # With near = min(|d|, beta), both cases are near * (|d| - near / 2) / beta.
        near = np.minimum(distance, self.beta)
        np.subtract(distance, near * 0.5, out=loss)
        near /= self.beta
        np.multiply(loss, near, out=loss)
        np.copysign(near, difference, out=slope)


class BCEWithLogitsLoss(ElementwiseLoss):
    r"""Cross-entropy of two classes; its mean over all elements.

    The loss of a logit x and a target t from 0 to 1 is
    :math:`(1 - t) \log(1 + e^x) + w t \log(1 + e^{-x})`, where w is `pos_weight`.

    Parameters
    ----------
    weight : array_like or None
        With which the losses are multiplied, of a shape that broadcasts to that of the logits. The
        mean still divides by the number of elements.
    reduction : {"mean", "sum", "none"}
        The mean or the sum of the losses of all values, or an array of them.
    pos_weight : array_like or None
        With which the losses of positive targets are multiplied, of a shape that broadcasts to
        that of the logits.

    Raises
    ------
    ValueError
        `reduction` is another word, or a weight is not finite. On a call: shapes do not fit, a
        target is NaN, below 0 or above 1, or the batch is empty.
    TypeError
        A weight does not hold numbers. On a call: logits or target does not hold numbers.
    RuntimeError
        `backward` without a call before it, or twice.

    See Also
    --------
    CrossEntropyLoss : For more than two classes.

    Notes
    -----
    Large and infinite logits have the right loss: it is 0 for a logit of infinity and the target 1,
    where PyTorch gives NaN.

    References
    ----------
    torch.nn.BCEWithLogitsLoss.

    Examples
    --------
    >>> criterion = BCEWithLogitsLoss(reduction="none", pos_weight=3)
    >>> criterion(np.array([0.0, -1000.0, 1000.0]), np.array([0, 1, 1])).round(4)
    array([6.931e-01, 3.000e+03, 0.000e+00])
    >>> criterion.backward()
    array([ 0.5, -3. ,  0. ])
    """

    option_names = ("weight", "reduction", "pos_weight")

    def __init__(
        self,
        weight: ArrayLike | None = None,
        *,
        reduction: str = "mean",
        pos_weight: ArrayLike | None = None,
    ) -> None:
        super().__init__(reduction)
        self.weight = _check.optional_weights("weight", weight)
        self.pos_weight = _check.optional_weights("pos_weight", pos_weight)

    @takes_arrays
    def __call__(
        self, logits: Array, target: ArrayLike, *, sample_weight: ArrayLike | None = None
    ) -> float | Array:
        """The loss.

        Parameters
        ----------
        logits : ndarray
        target : array_like
            Of the logits' shape; the probability of the positive class, or 0 and 1.
        sample_weight : array_like or None, shape (N,) or the logits' shape
            As in `MSELoss`.

        Returns
        -------
        float or ndarray
            An array of the logits' shape and dtype with ``reduction="none"``.
        """
        return self._call("logits", logits, target, sample_weight)

    def _computed(
        self, y: Array, target: Array, keeps: bool
    ) -> tuple[Array | None, Array, np.float64]:
        weights = self._like("weight", self.weight, y)
        positive_weights = weights + self._like("pos_weight", self.pos_weight, y)
        negative = elementwise(_product_with_rest, target, *weights)
        positive = elementwise(_product, target, *positive_weights) if positive_weights else target
        losses, slope = core.logistic_loss(y, negative, positive)
        return losses if keeps else None, slope, _sum(losses)

    def _like(self, name: str, value: Array | None, y: Array) -> list[Array]:
        """A weight as an array of y's shape and dtype; none if there is no weight."""
        if value is None:
            return []
        _check.broadcasts(name, value, y.shape)
        return [np.broadcast_to(value.astype(y.dtype), y.shape)]


def _product(target: Array, *weights: Array, out: Array) -> None:
    np.multiply(target, weights[0], out=out)
    for weight in weights[1:]:
        out *= weight


def _product_with_rest(target: Array, *weights: Array, out: Array) -> None:
    _check.shares("target", target)
    np.subtract(1, target, out=out)
    for weight in weights:
        out *= weight


def _sum(losses: Array) -> np.float64:
    (values,), sums = core.runs(losses), {}

    def block(begin: int, end: int) -> None:
        sums[begin] = np.sum(values[begin:end], dtype=np.float64)

    core.in_blocks(block, values.size, BLOCK_BYTES // values.itemsize)
    return in_order(sums)
