"""Dropout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bn import _check, nn
from bn.keras.layers.base import REFUSED, Layer
from bn.keras.randomness import rng_of
from bn.module import Module
from bn.types import Shape


class Dropout(Layer):
    """Zeros in random places in training, and the other values larger by 1 / (1 - rate).

    Parameters
    ----------
    rate : float
        The share of zeros, from 0 to 1.
    seed : int, optional
    **options
        As in `Layer`.

    Raises
    ------
    ValueError
        `rate` is out of range.

    References
    ----------
    keras.layers.Dropout; Srivastava et al., "Dropout", 2014.

    Examples
    --------
    >>> import numpy as np
    >>> Dropout(0.5, seed=0)(np.ones((1, 4)), training=False)
    array([[1., 1., 1., 1.]], dtype=float32)
    """

    config_names: ClassVar[tuple[str, ...]] = ("rate", "seed")
    refused: ClassVar[Mapping[str, Any]] = {**REFUSED, "noise_shape": None}

    def __init__(self, rate: float, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        _check.interval("rate", rate, 0, 1)
        self.rate, self.seed = rate, seed

    def make(self, shape: Shape) -> list[Module]:
        return [nn.Dropout(self.rate, rng=rng_of(self.seed))]


class SpatialDropout2D(Dropout):
    """Zeros in whole channels of images (N, H, W, C) in training.

    Parameters
    ----------
    rate : float
        The share of zeros, from 0 to 1.
    data_format : {"channels_last"}, optional
    seed : int, optional
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.SpatialDropout2D.

    Examples
    --------
    >>> import numpy as np
    >>> SpatialDropout2D(0.5)(np.ones((1, 1, 1, 2)), training=False)
    array([[[[1., 1.]]]], dtype=float32)
    """

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(rate, seed, **options)
        _check.channels_last_only("SpatialDropout2D", data_format)

    def make(self, shape: Shape) -> list[Module]:
        _check.keras_input_rank(self.name, shape, (4,))
        return [nn.Dropout2d(self.rate, axis=-1, rng=rng_of(self.seed))]
