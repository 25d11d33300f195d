"""These helpers make random arrays, and copy and compare the arrays of a model by name."""

import numpy as np


def normal(*shape, seed=0, dtype=np.float64):
    """Draw from the standard normal distribution: the same values for the same arguments."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def split(x, *sizes):
    """Cut x along its first axis into parts of the given sizes."""
    return np.split(x, np.cumsum(sizes)[:-1])


def state(model):
    """Copy the arrays that a model has in its state."""
    return {name: array.copy() for name, array in model.named_state()}


def same_state(one, other):
    """Tell whether two states have the same names, and the same values for each."""
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)
