"""What the fuzz draws: shapes, values, the ways in which arrays lie in memory, and bad arguments.

A `Draw` takes all its choices from generators with one seed, which Hypothesis chooses: to draw each
of them by itself would take longer than the calls.
"""

import random

import ml_dtypes
import numpy as np
from layouts import channels_last_memory, cropped, every_second, fortran, misaligned, reversed_all
from numpy.lib.stride_tricks import as_strided

FLOATS = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
WIDE = FLOATS[:2]  # what layers of `bn.nn` and the values of channels have
SIZES = [0, 1, 1, 2, 2, 3, 5, 7, 11, 13, 17]
LONG = [19, 31, 33, 47, 64, 70]
HUGE = 10**400  # no float holds it


class Subclass(np.ndarray):
    """An array of a class of one's own."""


# ---- layouts ----


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def of_a_subclass(x):
    return x.copy().view(Subclass)


def repeated(x):
    """Take the first sample for all of them, with a stride of 0."""
    return np.broadcast_to(x[:1], x.shape) if len(x) else x


def overlapping(x):
    """Let each sample begin one value behind the one before it."""
    if x.size == 0:
        return x
    flat = np.ascontiguousarray(x).reshape(-1)
    steps = np.ascontiguousarray(x[:1]).strides[1:]
    return as_strided(flat, x.shape, (x.itemsize, *steps), writeable=False)


def first_samples(x):
    """Leave room for one more sample behind x."""
    return np.concatenate([x, x[:1]])[:-1] if x.ndim and len(x) else x


def one_further(x):
    """Return a view that begins one sample after x, if there is room; else x reversed."""
    whole = x.base
    room = isinstance(whole, np.ndarray) and whole.shape == (len(x) + 1, *x.shape[1:])
    return whole[1:] if room else x[::-1]


IN_PLACE = [first_samples, first_samples, fortran, every_second, reversed_all, misaligned]
LAYOUTS = [*IN_PLACE, read_only, of_a_subclass, repeated, overlapping]


# ---- values ----


def normal(rng, shape, dtype):
    return rng.standard_normal(shape)


def far(rng, shape, dtype):
    return rng.standard_normal(shape) + 1000


def constant(rng, shape, dtype):
    return np.full(shape, rng.standard_normal())


def denormal(rng, shape, dtype):
    return rng.standard_normal(shape) * 4 * float(ml_dtypes.finfo(dtype).smallest_subnormal)


def large(rng, shape, dtype):
    return rng.standard_normal(shape) * (3000 if dtype == np.float16 else 1e12)


def special(rng, shape, dtype):
    x = rng.standard_normal(shape)
    where = rng.random(shape) < 0.05
    return np.where(where, rng.choice([np.nan, np.inf, -np.inf], shape), x)


KINDS = [normal, normal, far, constant, denormal, large, special]
FINITE = [kind for kind in KINDS if kind is not special]


# ---- what is refused ----

NO_ARRAY = [  # None comes first, so that lists without it are [1:]
    lambda a: None,
    lambda a: 3.5,
    lambda a: "text",
    lambda a: a.tolist(),
    lambda a: np.ma.masked_array(a, np.ones(a.shape, bool)),
    lambda a: (a if a.ndim == 2 else np.ones((2, 2), a.dtype)).view(np.matrix),
]
BAD_DTYPE = [
    lambda a: np.zeros(a.shape, np.int64),
    lambda a: np.zeros(a.shape, bool),
    lambda a: np.zeros(a.shape, np.complex128),
    lambda a: np.zeros(a.shape, object),
    lambda a: a.astype(np.float32).astype(np.dtype(np.float32).newbyteorder()),
    lambda a: np.zeros(a.shape, [("x", np.float32)]).view(np.recarray),
]
BAD_SHAPE = [lambda a: np.zeros((*a.shape, 1), a.dtype), lambda a: np.zeros((*a.shape, 2), a.dtype)]
BAD_TENSOR = [*NO_ARRAY, *BAD_DTYPE]
BAD_X = [*BAD_TENSOR, lambda a: np.zeros((), a.dtype), lambda a: np.zeros(5, a.dtype)]
BAD_LIKE = [*BAD_TENSOR, *BAD_SHAPE]
BAD_OUT = [*BAD_LIKE, read_only]
BAD_VECTOR = [*BAD_LIKE, lambda a: np.zeros(a.shape, np.float16), lambda a: np.zeros(len(a) + 1)]
BAD_NUMBERS = [np.nan, np.inf, "1", 1j, HUGE, np.ones(2), [1.0]]
BAD_FLAG = [None, "yes", 3, np.ones(2)]
BAD_EPS = [*BAD_NUMBERS, None, -1e-3, -HUGE]
BAD_AXES = [9, -9, 10**30, 1.0, None, "1", 1j, True, np.ones(2), [1]]
BAD_CHOICES = ["gelu", 3.5, np.ones(2), ["relu"], b"relu"]


class Draw:
    """Choices and arrays."""

    def __init__(self, seed):
        self.pick = random.Random(seed).choice
        self.rng = np.random.default_rng(seed)

    def often(self):
        """Return True three times of four."""
        return self.pick([True, True, True, False])

    def shape(self, low=2, high=6, sizes=SIZES):
        """Return a shape, of which at most one axis is long."""
        ndim = self.pick(range(low, high + 1))
        shape = [self.pick(sizes) for _ in range(ndim)]
        while np.prod(shape, dtype=float) > 3000:
            shape[np.argmax(shape)] //= 2
        if ndim and np.prod(shape) < 100 and self.pick(range(3)) == 0:
            shape[self.pick(range(ndim))] = self.pick(LONG)
        return tuple(shape)

    def values(self, shape, dtype, kinds=KINDS):
        kind = self.pick(kinds)
        with np.errstate(all="ignore"):
            return np.asarray(kind(self.rng, shape, dtype)).astype(dtype)

    def array(self, shape, dtype, kinds=KINDS, layouts=LAYOUTS):
        x = self.values(shape, dtype, kinds)
        if x.ndim == 0 or x.size == 0:
            return x
        layout = self.pick(layouts)
        if x.ndim == 4 and layout is fortran:
            layout = self.pick([fortran, channels_last_memory, cropped])
        return layout(x)

    def vector(self, channels, positive=False):
        """Return values of channels."""
        v = self.rng.standard_normal(channels)
        v = (v * v + 0.1 if positive else v).astype(self.pick(WIDE))
        return self.pick([np.copy, np.copy, read_only, every_second, of_a_subclass])(v)

    def optional(self, value):
        return self.pick([value, None])

    def like(self, x, kinds=KINDS):
        """Return an array of x's shape and dtype, or x itself, or a view of all or half of it."""
        if self.often() or x.size == 0:
            return self.array(x.shape, x.dtype, kinds)
        return self.pick([x, x[:], x[::-1]])
