"""`BatchNormalization`: Keras's names, defaults and conventions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from bn import _check
from bn.layers.batch_norm import BatchNorm
from bn.layers.combining import Combine
from bn.layers.convention import KERAS
from bn.layers.correction import Correction
from bn.layers.initializers import Initializer, initial_value, initializer
from bn.layers.regularizers import Regularizer, regularizer
from bn.layers.renorm import Renorm
from bn.layers.running_stats import RunningStats
from bn.parameter import Parameter
from bn.statistics import Stats
from bn.types import Array


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
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
        "l1", "l2", "l1_l2" (of 0.01, as in Keras) or a `Regularizer`: its gradient is added by
        `backward`, its value is in `regularization_loss`.
    renorm : bool, default False
        Batch renormalization: correct the batch's statistics towards running ones.
    renorm_clipping : dict, optional
        "rmin", "rmax" and "dmax", the bounds of the correction.
    renorm_momentum : float, default 0.99
        The weight of the old value, for the statistics that the correction aims at.
    synchronized : bool, default False
        Insist on the statistics of all ranks: a call that takes statistics must be inside of
        `bn.synchronized`, or the layer must have been given to `bn.synchronize`.
    dtype : dtype, default float32
        Of parameters and moving statistics, float32 or float64; x may have any dtype
        that `bn.stats` takes.

    Attributes
    ----------
    gamma, beta : Parameter or None, shape (C,)
    moving_mean, moving_variance : ndarray or None (before `build`), shape (C,)
    trainable : bool
        False: normalize with the moving statistics and change nothing, whatever the mode.

    Raises
    ------
    TypeError, ValueError
        From forward: x is not an array of a floating dtype with C channels, or a channel has a
        single value in training. Nothing has changed then.
    RuntimeError
        From forward: ``synchronized=True``, and there is no communicator.

    References
    ----------
    Ioffe & Szegedy, "Batch Normalization", 2015; Ioffe, "Batch Renormalization", 2017;
    ``keras.layers.BatchNormalization``.

    Examples
    --------
    >>> layer = BatchNormalization()
    >>> y = layer(np.ones((8, 4, 4, 3), np.float32))
    >>> layer.moving_mean
    array([0.01, 0.01, 0.01], dtype=float32)
    """

    buffer_names: ClassVar[tuple[str, ...]] = (
        "running_mean",
        "running_var",
        "moving_stddev",
        "renorm_mean",
        "renorm_stddev",
    )
    state_names: ClassVar[Mapping[str, str]] = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }

    def __init__(
        self,
        axis: int = KERAS.axis,
        momentum: float = KERAS.momentum,
        epsilon: float = KERAS.eps,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Initializer = "zeros",
        gamma_initializer: Initializer = "ones",
        moving_mean_initializer: Initializer = "zeros",
        moving_variance_initializer: Initializer = "ones",
        beta_regularizer: str | Regularizer | None = None,
        gamma_regularizer: str | Regularizer | None = None,
        *,
        renorm: bool = False,
        renorm_clipping: Mapping[str, float | None] | None = None,
        renorm_momentum: float = KERAS.momentum,
        synchronized: bool = False,
        dtype: DTypeLike = np.float32,
    ) -> None:
        _check.interval("momentum", momentum, 0, 1)
        _check.eps(epsilon, "epsilon")
        _check.flag("renorm", renorm)
        _check.flag("synchronized", synchronized)
        running = (
            Renorm(renorm_clipping, renorm_momentum, epsilon, momentum, dtype)
            if renorm
            else RunningStats(convention=KERAS, momentum=momentum, dtype=dtype)
        )
        super().__init__(running, None, epsilon, axis, scale=scale, center=center)
        self.center = center
        self.scale = scale
        self.synchronized = bool(synchronized)
        self.gamma_regularizer = regularizer("gamma_regularizer", gamma_regularizer)
        self.beta_regularizer = regularizer("beta_regularizer", beta_regularizer)
        self._initializers = {
            "bias": initializer("beta_initializer", beta_initializer),
            "weight": initializer("gamma_initializer", gamma_initializer),
            "running_mean": initializer("moving_mean_initializer", moving_mean_initializer),
            "running_var": initializer("moving_variance_initializer", moving_variance_initializer),
        }

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
    def eps(self) -> float:
        """Added to the variance; batch renormalization has it too."""
        return self._eps

    @eps.setter
    def eps(self, value: float) -> None:
        _check.eps(value)
        self._eps = value
        if isinstance(self.running, Renorm):
            self.running.eps = value

    @property
    def epsilon(self) -> float:
        return self.eps

    @property
    def renorm(self) -> Renorm | None:
        """The running statistics of batch renormalization; None without it."""
        return self.running if isinstance(self.running, Renorm) else None

    @property
    def moving_stddev(self) -> Array | None:
        return None if self.renorm is None else self.renorm.stddev

    @property
    def renorm_mean(self) -> Array | None:
        return None if self.renorm is None else self.renorm.renorm_mean

    @property
    def renorm_stddev(self) -> Array | None:
        return None if self.renorm is None else self.renorm.renorm_stddev

    def initial(self, name: str, channels: int) -> Array:
        return initial_value(self._initializers[name], (channels,), self.dtype)

    def forward(
        self,
        x: Array,
        training: bool | None = None,
        mask: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Array:
        """Normalize x; in training with its own statistics, which enter the moving ones.

        Parameters
        ----------
        x : ndarray
            The batch.
        training : bool, optional
            For this call, instead of the layer's mode.
        mask : array_like of bool, optional
            True where values count; of x's shape without its last axis, or broadcastable to that.
        lengths, sample_weight : array_like, optional
            As in `bn.position_weights`.
        """
        if mask is not None:
            _check.data(x, self.axis, f"x of {type(self).__name__}")
            _check.keras_mask(mask, x.shape)
            _check.spreads("mask", np.asarray(mask), x.shape[:-1])
            mask = np.expand_dims(mask, -1)  # Keras's rule, wherever the channels are
        return super().forward(
            x, training=training, mask=mask, lengths=lengths, sample_weight=sample_weight
        )

    def combining(self) -> Combine | None:
        combine = super().combining()
        if combine is None and self.synchronized:
            raise _check.no_communicator(type(self).__name__)
        return combine

    @property
    def corrects(self) -> bool:
        return self.renorm is not None

    def correction(self, batch: Stats) -> Correction | None:
        return None if self.renorm is None else self.renorm.correction(batch)

    def add_gradients(self, dweight: Array, dbias: Array) -> None:
        if self.weight is not None and self.gamma_regularizer is not None:
            dweight = dweight + self.gamma_regularizer.gradient(self.weight.data)
        if self.bias is not None and self.beta_regularizer is not None:
            dbias = dbias + self.beta_regularizer.gradient(self.bias.data)
        super().add_gradients(dweight, dbias)

    def regularization_loss(self) -> float:
        """What the regularizers of gamma and beta add to the loss."""
        pairs = ((self.gamma_regularizer, self.weight), (self.beta_regularizer, self.bias))
        return sum(r(p.data) for r, p in pairs if r is not None and p is not None)

    def extra_repr(self) -> str:
        text = (
            f"axis={self.axis}, {self.convention.words(self.momentum)}, epsilon={self.epsilon}, "
            f"center={self.center}, scale={self.scale}{self.choices()}"
        )
        if self.synchronized:
            text += ", synchronized=True"
        return text if self.renorm is None else f"{text}, {self.renorm.words()}"
