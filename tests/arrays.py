"""Random arrays, and the arrays of a model by name."""

import numpy as np


def normal(*shape, seed=0, dtype=np.float64):
    """Values of the standard normal distribution, the same ones for the same arguments."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def split(x, *sizes):
    """Parts of x along its first axis, of the given sizes."""
    return np.split(x, np.cumsum(sizes)[:-1])


def state(model):
    """Copies of the arrays that a model has in its state."""
    return {name: array.copy() for name, array in model.named_state()}


def same_state(one, other):
    """Whether two states have the same names, and the same values for each."""
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)
