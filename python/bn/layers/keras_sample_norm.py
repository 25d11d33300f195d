"""What Keras's layer and group normalization share: the names and beginnings of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from numpy.typing import DTypeLike

from bn import _check
from bn.layers.initializers import Initializer, initial_value, initializer
from bn.layers.sample_norm import SampleNorm
from bn.parameter import Parameter
from bn.types import Array, Shape


class KerasSampleNorm(SampleNorm):
    """A normalization of samples with Keras's names.

    Parameters
    ----------
    epsilon : float
        Added to the variance; at least 0.
    center, scale : bool
        Whether there are a `beta` and a `gamma`.
    beta_initializer, gamma_initializer : str or callable
        "zeros", "ones", or a function of (shape, dtype) that returns an array.
    dtype : dtype
        Of the parameters, float32 or float64.
    """

    state_names: ClassVar[Mapping[str, str]] = {"weight": "gamma", "bias": "beta"}

    def __init__(
        self,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Initializer,
        gamma_initializer: Initializer,
        dtype: DTypeLike,
    ) -> None:
        _check.eps(epsilon, "epsilon")
        super().__init__(epsilon, dtype)
        _check.flag("center", center)
        _check.flag("scale", scale)
        self.center, self.scale = center, scale
        self._initializers = {
            "weight": initializer("gamma_initializer", gamma_initializer),
            "bias": initializer("beta_initializer", beta_initializer),
        }

    @property
    def gamma(self) -> Parameter | None:
        return self.weight

    @property
    def beta(self) -> Parameter | None:
        return self.bias

    @property
    def epsilon(self) -> float:
        return self.eps

    def initial(self, name: str, shape: Shape) -> Array:
        return initial_value(self._initializers[name], shape, self.dtype)
