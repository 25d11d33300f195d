"""What weights begin with: Keras's names, defaults and distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from bn import _check
from bn.keras.configs import Configured, made, named
from bn.keras.randomness import rng_of
from bn.types import Array, Shape

# Of a normal distribution that is cut off at two standard deviations.
TRUNCATED_DEVIATION = 0.87962566103423978
MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")


class Initializer(Configured):
    """The base class: ``initializer(shape, dtype)`` returns an array.

    Examples
    --------
    >>> isinstance(Zeros(), Initializer)
    True
    """

    keras_module = "keras.initializers"

    def __call__(self, shape: Shape, dtype: DTypeLike = np.float32) -> Array:
        """An array of this shape."""
        return self.values(tuple(shape)).astype(dtype or np.float32)

    def values(self, shape: Shape) -> Array:
        """The values, of any dtype."""
        raise NotImplementedError(f"{type(self).__name__}.values")


class Zeros(Initializer):
    """Zeros.

    Examples
    --------
    >>> Zeros()((2,))
    array([0., 0.], dtype=float32)
    """

    def values(self, shape: Shape) -> Array:
        return np.zeros(shape)


class Ones(Initializer):
    """Ones.

    Examples
    --------
    >>> Ones()((2,))
    array([1., 1.], dtype=float32)
    """

    def values(self, shape: Shape) -> Array:
        return np.ones(shape)


class Constant(Initializer):
    """One value everywhere.

    Parameters
    ----------
    value : float

    Examples
    --------
    >>> Constant(0.5)((2,))
    array([0.5, 0.5], dtype=float32)
    """

    config_names: ClassVar[tuple[str, ...]] = ("value",)

    def __init__(self, value: float = 0.0) -> None:
        _check.finite("value", value)
        self.value = value

    def values(self, shape: Shape) -> Array:
        return np.full(shape, self.value)


class RandomNormal(Initializer):
    """A normal distribution.

    Parameters
    ----------
    mean, stddev : float
    seed : int, optional
        Without it, the numbers are those that `bn.keras.utils.set_random_seed` began.

    Examples
    --------
    >>> RandomNormal(seed=0)((2, 3)).shape
    (2, 3)
    """

    config_names: ClassVar[tuple[str, ...]] = ("mean", "stddev", "seed")

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        _check.finite("mean", mean)
        _check.at_least("stddev", stddev, 0)
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def values(self, shape: Shape) -> Array:
        return rng_of(self.seed).normal(self.mean, self.stddev, shape)


class TruncatedNormal(RandomNormal):
    """A normal distribution without what is more than two standard deviations from its mean.

    Parameters
    ----------
    mean, stddev : float
    seed : int, optional

    Examples
    --------
    >>> bool(abs(TruncatedNormal(stddev=1, seed=0)((1000,))).max() <= 2)
    True
    """

    def values(self, shape: Shape) -> Array:
        return self.mean + self.stddev * truncated(rng_of(self.seed), shape)


class RandomUniform(Initializer):
    """A uniform distribution.

    Parameters
    ----------
    minval, maxval : float
    seed : int, optional

    Examples
    --------
    >>> bool(abs(RandomUniform(seed=0)((1000,))).max() <= 0.05)
    True
    """

    config_names: ClassVar[tuple[str, ...]] = ("minval", "maxval", "seed")

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        _check.finite("minval", minval)
        _check.at_least("maxval", maxval, minval)
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def values(self, shape: Shape) -> Array:
        return rng_of(self.seed).uniform(self.minval, self.maxval, shape)


class VarianceScaling(Initializer):
    """Numbers whose variance is `scale` divided by the number of inputs, of outputs, or their mean.

    Parameters
    ----------
    scale : float
    mode : {"fan_in", "fan_out", "fan_avg"}
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
    seed : int, optional

    Raises
    ------
    ValueError
        An argument is out of range.

    References
    ----------
    keras.initializers.VarianceScaling.

    Examples
    --------
    >>> bool(abs(VarianceScaling(3, distribution="uniform", seed=0)((9, 9))).max() <= 1)
    True
    """

    config_names: ClassVar[tuple[str, ...]] = ("scale", "mode", "distribution", "seed")
    refused: ClassVar[Mapping[str, Any]] = {"input_axes": None, "output_axes": None}

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        _check.above("scale", scale, 0)
        _check.one_of("mode", mode, MODES)
        _check.one_of("distribution", distribution, DISTRIBUTIONS)
        self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, seed

    def values(self, shape: Shape) -> Array:
        inputs, outputs = fans(shape)
        fan = {"fan_in": inputs, "fan_out": outputs, "fan_avg": (inputs + outputs) / 2}[self.mode]
        deviation, rng = math.sqrt(self.scale / max(1, fan)), rng_of(self.seed)
        if self.distribution == "uniform":
            return rng.uniform(-math.sqrt(3) * deviation, math.sqrt(3) * deviation, shape)
        if self.distribution == "untruncated_normal":
            return rng.normal(0, deviation, shape)
        return deviation / TRUNCATED_DEVIATION * truncated(rng, shape)


class FixedScaling(VarianceScaling):
    """A variance scaling whose class says all but the seed.

    Parameters
    ----------
    seed : int, optional
    """

    config_names: ClassVar[tuple[str, ...]] = ("seed",)
    options: tuple[float, str, str]

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(*self.options, seed=seed)


class GlorotUniform(FixedScaling):
    """U(-a, a) with a = sqrt(6 / (inputs + outputs)).

    Parameters
    ----------
    seed : int, optional

    References
    ----------
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    2010.

    Examples
    --------
    >>> bool(abs(GlorotUniform(seed=0)((3, 3))).max() <= 1)
    True
    """

    options = (1.0, "fan_avg", "uniform")


class GlorotNormal(FixedScaling):
    """A truncated normal distribution of the variance 2 / (inputs + outputs).

    Parameters
    ----------
    seed : int, optional

    Examples
    --------
    >>> GlorotNormal(seed=0)((3, 3)).shape
    (3, 3)
    """

    options = (1.0, "fan_avg", "truncated_normal")


class HeUniform(FixedScaling):
    """U(-a, a) with a = sqrt(6 / inputs).

    Parameters
    ----------
    seed : int, optional

    References
    ----------
    He et al., "Delving deep into rectifiers", 2015.

    Examples
    --------
    >>> bool(abs(HeUniform(seed=0)((6, 3))).max() <= 1)
    True
    """

    options = (2.0, "fan_in", "uniform")


class HeNormal(FixedScaling):
    """A truncated normal distribution of the variance 2 / inputs.

    Parameters
    ----------
    seed : int, optional

    Examples
    --------
    >>> HeNormal(seed=0)((3, 3)).shape
    (3, 3)
    """

    options = (2.0, "fan_in", "truncated_normal")


class LecunUniform(FixedScaling):
    """U(-a, a) with a = sqrt(3 / inputs).

    Parameters
    ----------
    seed : int, optional

    Examples
    --------
    >>> bool(abs(LecunUniform(seed=0)((3, 3))).max() <= 1)
    True
    """

    options = (1.0, "fan_in", "uniform")


class LecunNormal(FixedScaling):
    """A truncated normal distribution of the variance 1 / inputs.

    Parameters
    ----------
    seed : int, optional

    Examples
    --------
    >>> LecunNormal(seed=0)((3, 3)).shape
    (3, 3)
    """

    options = (1.0, "fan_in", "truncated_normal")


class Orthogonal(Initializer):
    """A matrix whose rows, or whose columns if these are fewer, are orthogonal.

    Parameters
    ----------
    gain : float
        The length of the rows, or of the columns.
    seed : int, optional

    References
    ----------
    Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", 2013.

    Examples
    --------
    >>> q = Orthogonal(seed=0)((4, 2), np.float64)
    >>> bool(np.allclose(q.T @ q, np.eye(2)))
    True
    """

    config_names: ClassVar[tuple[str, ...]] = ("gain", "seed")

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        _check.finite("gain", gain)
        self.gain, self.seed = gain, seed

    def values(self, shape: Shape) -> Array:
        _check.rank_at_least("an orthogonal weight", np.empty(shape), 2)
        rows, columns = math.prod(shape[:-1]), shape[-1]
        drawn = rng_of(self.seed).normal(size=(max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(drawn)
        q = q * np.sign(np.diag(r))  # else the signs would not be random
        return self.gain * (q.T if rows < columns else q).reshape(shape)


CLASSES = (
    Zeros, Ones, Constant, RandomNormal, RandomUniform, TruncatedNormal, VarianceScaling,
    GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal, Orthogonal,
)  # fmt: skip
NAMES: dict[str, type[Initializer]] = {each.__name__: each for each in CLASSES}
NAMES |= {
    "zeros": Zeros, "ones": Ones, "constant": Constant, "normal": RandomNormal,
    "random_normal": RandomNormal, "uniform": RandomUniform, "random_uniform": RandomUniform,
    "truncated_normal": TruncatedNormal, "variance_scaling": VarianceScaling,
    "glorot_uniform": GlorotUniform, "glorot_normal": GlorotNormal, "he_uniform": HeUniform,
    "he_normal": HeNormal, "lecun_uniform": LecunUniform, "lecun_normal": LecunNormal,
    "orthogonal": Orthogonal,
}  # fmt: skip


def get(identifier: Any) -> Callable[[Shape, DTypeLike], Array]:
    """The initializer that an argument stands for.

    Parameters
    ----------
    identifier : str, dict or callable
        A function of (shape, dtype) stands for itself.

    Raises
    ------
    TypeError, ValueError
        It stands for none.

    Examples
    --------
    >>> type(get("he_normal")).__name__
    'HeNormal'
    """
    found = named("initializer", made(identifier), NAMES)
    _check.function("an initializer", found)
    return found  # type: ignore[no-any-return]


def fans(shape: Shape) -> tuple[int, int]:
    """The numbers of inputs and of outputs of a weight in Keras's layout.

    Parameters
    ----------
    shape : tuple of int
        (..., inputs, outputs), with the kernel's size in front.

    Examples
    --------
    >>> fans((3, 3, 16, 32)), fans((8,))
    ((144, 288), (8, 8))
    """
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    pixels = math.prod(shape[:-2])
    return shape[-2] * pixels, shape[-1] * pixels


def truncated(rng: np.random.Generator, shape: Shape) -> Array:
    """Standard normal numbers between -2 and 2: others are drawn again.

    Parameters
    ----------
    rng : Generator
    shape : tuple of int

    Examples
    --------
    >>> bool(abs(truncated(np.random.default_rng(0), (1000,))).max() <= 2)
    True
    """
    values = rng.standard_normal(shape)
    while (far := abs(values) > 2).any():
        values[far] = rng.standard_normal(int(far.sum()))
    return values
