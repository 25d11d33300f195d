"""`BatchNormalization`: Keras's names, defaults and conventions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn._module import Array, Parameter, Shape
from bn.functional import Stats, commit
from bn.layers.base import BatchNorm

Initializer = str | Callable[[Shape, np.dtype[Any]], Array]


class BatchNormalization(BatchNorm):
    """Batch normalization of any rank from 2 up, with Keras's conventions.

    ``y = (x - mean) / sqrt(var + epsilon) · gamma + beta`` for each channel. In training, mean and
    var (biased) are the batch's, and the moving statistics follow:
    ``moving = momentum·moving + (1 - momentum)·batch``, with the same biased variance. In eval mode
    they are the moving ones.

    The number of channels is learned from the first batch, or from `build`.

    Parameters
    ----------
    axis : int, default -1
        The channel axis.
    momentum : float, default 0.99
        The weight of the old value, from 0 to 1.
    epsilon : float, default 1e-3
        Added to the variance; at least 0.
    center, scale : bool, default True
        Have a trainable `beta`; a trainable `gamma`.
    beta_initializer, gamma_initializer : str or callable, default "zeros", "ones"
        "zeros", "ones", or a function of (shape, dtype) that returns an array.
    moving_mean_initializer, moving_variance_initializer : str or callable, default "zeros", "ones"
        Likewise.
    dtype : dtype, default float32
        Of parameters and moving statistics, float32 or float64; x may have either.

    Attributes
    ----------
    gamma, beta : Parameter or None, shape (C,)
    moving_mean, moving_variance : ndarray or None (before `build`), shape (C,)

    Raises
    ------
    TypeError, ValueError
        From forward: x is not an array of float32 or float64 with C channels, or a channel has a
        single value in training. Nothing has changed then.

    References
    ----------
    Ioffe & Szegedy, "Batch Normalization", 2015; ``keras.layers.BatchNormalization``.

    Examples
    --------
    >>> layer = BatchNormalization()
    >>> y = layer(np.ones((8, 4, 4, 3), np.float32))
    >>> layer.moving_mean
    array([0.01, 0.01, 0.01], dtype=float32)
    """

    _buffers: ClassVar[tuple[str, ...]] = ("running_mean", "running_var")
    _state_names: ClassVar[Mapping[str, str]] = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        moving_mean_initializer: Initializer = "zeros",
        moving_variance_initializer: Initializer = "ones",
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        _check.interval("momentum", momentum, 0, 1)
        _check.eps(epsilon, "epsilon")
        super().__init__(None, epsilon, axis, dtype)
        self.momentum = momentum
        self.center = center
        self.scale = scale
        self._initializers = {
            "beta": beta_initializer,
            "gamma": gamma_initializer,
            "moving_mean": moving_mean_initializer,
            "moving_variance": moving_variance_initializer,
        }
        for name, initializer in self._initializers.items():
            _check.initializer(f"{name}_initializer", initializer, _INITIALIZERS)

    @property
    def gamma(self) -> Parameter | None:
        return self.weight

    @property
    def beta(self) -> Parameter | None:
        return self.bias

    @property
    def moving_mean(self) -> Array | None:
        return self.running_mean

    @property
    def moving_variance(self) -> Array | None:
        return self.running_var

    @property
    def epsilon(self) -> float:
        return self.eps

    def build(self, input_shape: Shape) -> None:
        """Create parameters and statistics for inputs of this shape (without the batch axis)."""
        if self.num_features is None:
            self._build(_check.unbatched_channels(input_shape, self.axis))

    def _build(self, channels: int) -> None:
        initial = {name: self._initial(name, channels) for name in self._initializers}
        self.weight = Parameter(initial["gamma"]) if self.scale else None
        self.bias = Parameter(initial["beta"]) if self.center else None
        self.running_mean = initial["moving_mean"]
        self.running_var = initial["moving_variance"]
        self.num_features = channels

    def _initial(self, name: str, channels: int) -> Array:
        initializer = self._initializers[name]
        make = _INITIALIZERS[initializer] if isinstance(initializer, str) else initializer
        value = np.asarray(make((channels,), self.dtype)).astype(self.dtype)
        _check.shape(f"{name}_initializer's result", value, (channels,))
        return value

    def _create(self, channels: int) -> None:
        if self.num_features is None:
            self._build(channels)

    def _commit(self, batch: Stats) -> None:
        if self.running_mean is not None and self.running_var is not None:
            share = 1 - self.momentum
            commit(batch, self.running_mean, self.running_var, share, unbiased=False)

    def _own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        _check.built(type(self).__name__, self.num_features is not None)
        return super()._own_parameters()

    def extra_repr(self) -> str:
        return (
            f"axis={self.axis}, momentum={self.momentum}, epsilon={self.epsilon}, "
            f"center={self.center}, scale={self.scale}"
        )


_INITIALIZERS: dict[str, Callable[[Shape, np.dtype[Any]], Array]] = {
    "zeros": np.zeros,
    "ones": np.ones,
}
