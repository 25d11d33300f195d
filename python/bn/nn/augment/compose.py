"""`Compose`: several augmentations, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from bn import _check
from bn.arrays import takes_arrays
from bn.types import Array

Step: TypeAlias = Callable[[Array, Any, np.random.Generator], tuple[Array, Any]]


class Compose:
    """Several augmentations, one after the other.

    Parameters
    ----------
    transforms : iterable of callable
        Each is called as ``transform(x, y, rng)`` with what the one before returned, and returns
        the tuple (x, y).

    Raises
    ------
    TypeError
        `transforms` is no iterable of callables. On a call: `rng` is no Generator, or a transform
        returns something else.

    References
    ----------
    torchvision.transforms.v2.Compose.

    Examples
    --------
    >>> from bn.nn.augment import Normalize, RandomFlip
    >>> augment = Compose([RandomFlip(), Normalize(0.5, 0.25)])
    >>> augment
    Compose([RandomFlip(p=0.5), Normalize(mean=0.5, std=0.25)])
    >>> x, y = augment(np.ones((2, 3, 4, 4)), np.array([5, 7]), np.random.default_rng(0))
    >>> x.shape, float(x.max()), y
    ((2, 3, 4, 4), 2.0, array([5, 7]))
    """

    def __init__(self, transforms: Iterable[Step]) -> None:
        _check.several("transforms", transforms)
        self.transforms = list(transforms)
        for transform in self.transforms:
            _check.function("transforms", transform)

    @takes_arrays
    def __call__(self, x: Array, y: Any, rng: np.random.Generator) -> tuple[Array, Any]:
        """The changed images and their targets.

        Parameters
        ----------
        x, y : ndarray
            The images and their targets.
        rng : Generator

        Returns
        -------
        x, y
        """
        _check.batch_generator(rng)
        for transform in self.transforms:
            x, y = _check.augmented(transform, transform(x, y, rng))
        return x, y

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"
