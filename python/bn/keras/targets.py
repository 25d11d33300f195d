"""Targets and weights in the shapes and dtypes that losses and metrics need."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bn import _check
from bn.types import Array, Shape


def like_outputs(y_true: Array, y_pred: Array) -> Array:
    """Targets as an array of the outputs' shape and dtype.

    Parameters
    ----------
    y_true : ndarray
        An axis of length 1 may be missing behind, or be too many.
    y_pred : ndarray

    Examples
    --------
    >>> like_outputs(np.array([1, 0]), np.zeros((2, 1)))
    array([[1.],
           [0.]])
    """
    y_true = _check.numeric("y", np.asarray(y_true))
    if y_true.ndim == y_pred.ndim - 1 and y_pred.shape[-1] == 1:
        y_true = y_true[..., None]
    elif y_true.ndim == y_pred.ndim + 1 and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    _check.shape("y", y_true, y_pred.shape)
    return y_true.astype(y_pred.dtype, copy=False)


def class_numbers(y_true: Array, y_pred: Array) -> Array:
    """The numbers of classes as integers, one for each place of the outputs.

    Parameters
    ----------
    y_true : ndarray
        Integers, or whole numbers of a floating dtype.
    y_pred : ndarray, shape (N, ..., C)

    Examples
    --------
    >>> class_numbers(np.array([[1.0], [0.0]]), np.zeros((2, 5)))
    array([1, 0])
    """
    y_true = _check.numeric("y", np.asarray(y_true))
    if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    _check.shape("y", y_true, y_pred.shape[:-1])
    _check.whole_numbers("y", y_true)
    return y_true.astype(np.int64, copy=False)


def spread_weights(sample_weight: ArrayLike, places: Shape) -> Array:
    """A weight for each place of the outputs.

    Parameters
    ----------
    sample_weight : array_like, shape (N,) or (N, ...)
    places : tuple of int
        The shape of the outputs without the last axis.

    Examples
    --------
    >>> spread_weights([1, 2], (2, 3))
    array([[1., 1., 1.],
           [2., 2., 2.]])
    """
    weights = _check.weights("sample_weight", sample_weight).astype(np.float64, copy=False)
    if weights.ndim == len(places) + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    if weights.shape != places:
        _check.shape("sample_weight", weights, places[:1])
        weights = weights.reshape(-1, *[1] * (len(places) - 1))
    return np.broadcast_to(weights, places)


def class_weights(class_weight: dict[int, float], y: Array) -> Array:
    """The weight of each sample by its class.

    Parameters
    ----------
    class_weight : dict of int to float
        Classes that are not in it have the weight 1.
    y : ndarray
        The numbers of the classes, or a row for each sample with the largest value at its class.

    Examples
    --------
    >>> class_weights({1: 3.0}, np.array([0, 1, 1]))
    array([1., 3., 3.])
    """
    _check.class_weight(class_weight)
    classes = y.argmax(axis=-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(len(y))
    weights = np.ones(len(y))
    for number, weight in class_weight.items():
        weights[classes == number] = weight
    return weights
