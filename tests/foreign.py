"""Arrays of a library that is neither NumPy nor any that must be installed."""

import numpy as np


class ByDLPack:
    """An array that hands its memory over by DLPack."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


class ByNumPy:
    """An array that has NumPy's protocol."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return self.values


class OnDevice(ByDLPack):
    """An array in the memory of another device."""

    device = "cuda:0"

    def __dlpack_device__(self):
        return 2, 0


class WithGradient(ByDLPack):
    """An array that requires a gradient."""

    requires_grad = True
