"""Batch, layer and group normalization, by `bn`'s layers of Keras's conventions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import bn.layers as own
from bn.keras import initializers, regularizers
from bn.keras.layers.base import REFUSED, Layer
from bn.module import Module
from bn.types import Shape

CONSTRAINTS = {"beta_constraint": None, "gamma_constraint": None}


class Normalization(Layer):
    """What the normalizations share: gamma and beta.

    Parameters
    ----------
    axis : int or sequence of int
    epsilon : float
    center, scale : bool
    beta_initializer, gamma_initializer : str or Initializer
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    **options
        As in `Layer`.
    """

    config_names: ClassVar[tuple[str, ...]] = (
        "axis", "epsilon", "center", "scale", "beta_initializer", "gamma_initializer",
        "beta_regularizer", "gamma_regularizer",
    )  # fmt: skip
    refused: ClassVar[Mapping[str, Any]] = {**REFUSED, **CONSTRAINTS}

    def __init__(
        self,
        axis: Any,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Any,
        gamma_initializer: Any,
        beta_regularizer: Any,
        gamma_regularizer: Any,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.axis = axis[0] if isinstance(axis, (tuple, list)) and len(axis) == 1 else axis
        self.epsilon, self.center, self.scale = epsilon, center, scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.normalizer()  # which checks the arguments

    def normalizer(self) -> Module:
        """The layer of `bn` that computes it."""
        raise NotImplementedError(f"{type(self).__name__}.normalizer")

    def numbers(self, shape: Shape) -> int:
        axes = self.axis if isinstance(self.axis, (tuple, list)) else [self.axis]
        lengths = [(0, *shape)[axis] for axis in axes]
        return 7 * math.prod(lengths)  # of a batch renormalization

    def make(self, shape: Shape) -> list[Module]:
        layer = self.normalizer()
        layer.build(shape)
        if self.scale:
            self.add_weight(
                "gamma", layer, "weight",
                initializer=self.gamma_initializer, regularizer=self.gamma_regularizer,
            )  # fmt: skip
        if self.center:
            self.add_weight(
                "beta", layer, "bias",
                initializer=self.beta_initializer, regularizer=self.beta_regularizer,
            )  # fmt: skip
        return [layer]


class BatchNormalization(Normalization):
    """Batch normalization, by `bn.BatchNormalization`.

    Parameters
    ----------
    axis : int
        The channel axis.
    momentum : float
        The weight of the old moving statistics.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there are `beta` and `gamma`.
    beta_initializer, gamma_initializer : str or Initializer
    moving_mean_initializer, moving_variance_initializer : str or Initializer
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    renorm : bool
        Whether it is a batch renormalization.
    renorm_clipping : dict, optional
    renorm_momentum : float
    **options
        As in `Layer`.

    Raises
    ------
    TypeError, ValueError
        An argument is out of range, or is one that `bn.keras` has not.

    References
    ----------
    keras.layers.BatchNormalization; Ioffe and Szegedy, "Batch normalization", 2015.

    Examples
    --------
    >>> import numpy as np
    >>> layer = BatchNormalization()
    >>> x = np.tile([[1.0], [3.0]], (16, 1))
    >>> layer(x, training=True)[:2].round(2).ravel()
    array([-1.,  1.], dtype=float32)
    >>> [weight.name for weight in layer.weights]
    ['gamma', 'beta', 'moving_mean', 'moving_variance']
    """

    config_names: ClassVar[tuple[str, ...]] = (
        *Normalization.config_names, "momentum", "moving_mean_initializer",
        "moving_variance_initializer", "renorm", "renorm_clipping", "renorm_momentum",
    )  # fmt: skip
    refused: ClassVar[Mapping[str, Any]] = {**REFUSED, **CONSTRAINTS, "synchronized": False}

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        renorm: bool = False,
        renorm_clipping: Mapping[str, float | None] | None = None,
        renorm_momentum: float = 0.99,
        **options: Any,
    ) -> None:
        self.momentum = momentum
        self.renorm, self.renorm_momentum = renorm, renorm_momentum
        self.renorm_clipping = renorm_clipping
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        super().__init__(
            axis, epsilon, center, scale, beta_initializer, gamma_initializer,
            beta_regularizer, gamma_regularizer, **options,
        )  # fmt: skip

    def normalizer(self) -> Module:
        return own.BatchNormalization(
            self.axis, self.momentum, self.epsilon, self.center, self.scale, renorm=self.renorm,
            renorm_clipping=self.renorm_clipping, renorm_momentum=self.renorm_momentum,
            dtype=self.dtype,
        )  # fmt: skip

    def make(self, shape: Shape) -> list[Module]:
        (layer,) = super().make(shape)
        begin = self.moving_mean_initializer, self.moving_variance_initializer
        self.add_weight("moving_mean", layer, "running_mean", initializer=begin[0])
        self.add_weight("moving_variance", layer, "running_var", initializer=begin[1])
        if self.renorm:
            for name in ("moving_stddev", "renorm_mean", "renorm_stddev"):
                self.add_weight(name, layer, name)
        return [layer]


class LayerNormalization(Normalization):
    """Layer normalization, by `bn.LayerNormalization`.

    Parameters
    ----------
    axis : int or sequence of int
        The axes that are normalized together.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there are `beta` and `gamma`.
    beta_initializer, gamma_initializer : str or Initializer
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.LayerNormalization; Ba et al., "Layer normalization", 2016.

    Examples
    --------
    >>> import numpy as np
    >>> LayerNormalization()(np.array([[1.0, 3.0]])).round(3)
    array([[-1.,  1.]], dtype=float32)
    """

    refused: ClassVar[Mapping[str, Any]] = {**REFUSED, **CONSTRAINTS, "rms_scaling": False}

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(
            axis, epsilon, center, scale, beta_initializer, gamma_initializer,
            beta_regularizer, gamma_regularizer, **options,
        )  # fmt: skip

    def normalizer(self) -> Module:
        return own.LayerNormalization(
            self.axis, self.epsilon, self.center, self.scale, dtype=self.dtype
        )


class GroupNormalization(Normalization):
    """Group normalization, by `bn.GroupNormalization`.

    Parameters
    ----------
    groups : int
        How many groups the channels are divided into; -1 for one of each channel.
    axis : int
        The channel axis.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there are `beta` and `gamma`.
    beta_initializer, gamma_initializer : str or Initializer
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    **options
        As in `Layer`.

    References
    ----------
    keras.layers.GroupNormalization; Wu and He, "Group normalization", 2018.

    Examples
    --------
    >>> import numpy as np
    >>> GroupNormalization(1)(np.array([[[1.0], [3.0]]])).round(3).ravel()
    array([-1.,  1.], dtype=float32)
    """

    config_names: ClassVar[tuple[str, ...]] = ("groups", *Normalization.config_names)

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        **options: Any,
    ) -> None:
        self.groups = groups
        super().__init__(
            axis, epsilon, center, scale, beta_initializer, gamma_initializer,
            beta_regularizer, gamma_regularizer, **options,
        )  # fmt: skip

    def normalizer(self) -> Module:
        return own.GroupNormalization(
            self.groups, self.axis, self.epsilon, self.center, self.scale, dtype=self.dtype
        )
