"""`Mixup`: pairs of images, and of their targets, are mixed."""

from __future__ import annotations

from typing import Any

import numpy as np

from bn import _check
from bn._core import core
from bn.nn.augment.base import Augmentation
from bn.types import Array


class Mixup(Augmentation):
    r"""Mixes each image and its target with those of another image of the batch.

    With a share :math:`\lambda` from the distribution Beta(alpha, alpha), drawn once for each
    batch, and the image j that a random permutation puts in the place of image i:

    .. math::
        \tilde x_i = \lambda x_i + (1 - \lambda) x_j, \quad
        \tilde y_i = \lambda y_i + (1 - \lambda) y_j

    The targets become class probabilities, which `nn.CrossEntropyLoss` takes.

    Parameters
    ----------
    alpha : float
        Above 0. With small ones most shares are near 0 or 1; with 1 all are equally probable.
    num_classes : int or None
        It may be None if the targets are class probabilities already.
    axis : {1, -1}
        The channel axis: 1 for (N, C, H, W), -1 for (N, H, W, C).

    Raises
    ------
    ValueError
        An argument is not as above. On a call: y has not one target for each image, or a class is
        not below `num_classes`.
    TypeError
        On a call: y holds neither class indices (N,) nor class probabilities (N, C).

    References
    ----------
    Zhang et al., "mixup: beyond empirical risk minimization", 2018;
    torchvision.transforms.v2.MixUp.

    Examples
    --------
    >>> x, y = np.array([0.0, 100.0]).reshape(2, 1, 1, 1), np.array([0, 2])
    >>> x, y = Mixup(1.0, num_classes=3)(x, y, np.random.default_rng(1))
    >>> x.ravel().round(1), y.round(3)
    (array([57.6, 42.4]), array([[0.424, 0.   , 0.576],
           [0.576, 0.   , 0.424]]))
    """

    def __init__(
        self, alpha: float = 1.0, num_classes: int | None = None, *, axis: int = 1
    ) -> None:
        super().__init__(axis=axis)
        _check.above("alpha", alpha, 0)
        _check.optional_positive_int("num_classes", num_classes)
        self.alpha, self.num_classes = float(alpha), num_classes

    def batch(self, x: Array, y: Any, rng: np.random.Generator) -> tuple[Array, Any]:
        target, indices = _check.target_for_mixing(y, len(x), self.num_classes)
        share, other = rng.beta(self.alpha, self.alpha), rng.permutation(len(x))
        if indices:
            assert self.num_classes is not None
            probabilities = np.zeros((len(x), self.num_classes), x.dtype)
            probabilities[np.arange(len(x)), target] = 1
        else:
            probabilities = target.astype(x.dtype)
        return mixed(x, other, share), mixed(probabilities, other, share)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, num_classes={self.num_classes}"


def mixed(x: Array, other: Array, share: float) -> Array:
    """``share * x + (1 - share) * x[other]``.

    Parameters
    ----------
    x : ndarray, at least 2 axes
    other : ndarray of int, shape (N,)
    share : float

    Examples
    --------
    >>> mixed(np.array([[0.0], [8.0]]), np.array([1, 0]), 0.25)
    array([[6.],
           [2.]])
    """
    y: Array = core.empty_like(x)
    for image, out, j in zip(x, y, other.tolist(), strict=True):
        np.multiply(image, share, out=out)
        np.add(out, (1 - share) * x[j], out=out)
    return y
