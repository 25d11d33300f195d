"""The tests have these shapes, and these ways in which an array of one shape can lie in memory."""

import numpy as np

# Shape and channel axis have every rank, channels anywhere, few and many, rows long and short.
SHAPES = [
    ((8, 5), 1),
    ((2, 4), 1),
    ((33, 64), 1),
    ((64, 3), 1),
    ((7, 17), 1),
    ((300, 1), 1),
    ((6, 1100), 1),
    ((4, 3, 10), 1),
    ((4, 10, 3), -1),
    ((5, 10, 3), 0),
    ((4, 16, 7, 7), 1),
    ((4, 7, 7, 16), 3),
    ((3, 8, 8, 65), -1),
    ((2, 5, 6, 3), 2),
    ((2, 1, 150, 150), 1),
    ((1, 3, 140, 140), 1),
    ((2, 4, 3, 5, 6), 1),
    ((2, 3, 5, 6, 4), 4),
    ((50000, 3), 1),
    ((2, 40000), 0),
]


def contiguous(x):
    return np.ascontiguousarray(x)


def fortran(x):
    return np.asfortranarray(x)


def channels_last_memory(x):
    """Put NCHW into memory as PyTorch's channels_last has it."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def every_second(x):
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def part_of_batch(x):
    more = np.zeros((2 * x.shape[0], *x.shape[1:]), x.dtype)
    more[::2] = x
    return more[::2]


def cropped(x):
    border = np.pad(x, [(0, 0)] + [(1, 1)] * (x.ndim - 1))
    return border[(slice(None), *(slice(1, -1) for _ in x.shape[1:]))]


def reversed_batch(x):
    return np.ascontiguousarray(x[::-1])[::-1]


def reversed_all(x):
    flip = (slice(None, None, -1),) * x.ndim
    return np.ascontiguousarray(x[flip])[flip]


def misaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    array = raw[1:].view(x.dtype).reshape(x.shape)
    array[...] = x
    return array


def same_order(x):
    """Copy x without gaps; its axes keep their order in memory, on which the sums depend."""
    return x.copy(order="K")


MEMORY = [
    contiguous,
    fortran,
    channels_last_memory,
    every_second,
    part_of_batch,
    cropped,
    reversed_batch,
    reversed_all,
    misaligned,
]


def in_order(a, order):
    """Return a copy whose axes lie in memory in this order."""
    return np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))
