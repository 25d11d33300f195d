"""Every result is compared with float64 NumPy, on a few channels, before anything is timed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from cases import EPS, Data

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import reference  # the oracle of the tests

MOST_VALUES = 500_000  # about so many are compared, at least one channel


class WrongResultError(Exception):
    """A result is not what float64 says."""


class Verifier:
    """Knows the right results of a few channels of one tensor.

    Parameters
    ----------
    data : Data
        What the results were computed from.
    """

    def __init__(self, data: Data) -> None:
        self._data = data
        count = data.case.shape[1]
        affordable = max(1, MOST_VALUES * count // data.x.size)
        self._channels = np.unique(np.linspace(0, count - 1, min(count, affordable, 16), dtype=int))
        x, dy, residual = (self._some(a) for a in (data.x, data.dy, data.residual))
        weight, bias, mean, var = (
            a[self._channels] for a in (data.weight, data.bias, data.running_mean, data.running_var)
        )
        axis = data.axis
        self._count = x.size // len(self._channels)
        g = dy * (residual > 0)
        self._want = {
            "forward": (reference.forward(x, weight, bias, EPS, axis),),
            "backward": reference.backward(dy, x, weight, EPS, axis),
            "fused forward": (
                np.maximum(reference.forward(x, weight, bias, EPS, axis) + residual, 0),
            ),
            "fused backward": (*reference.backward(g, x, weight, EPS, axis), g),
            "eval": (reference.forward(x, weight, bias, EPS, axis, mean, var),),
            "copy": (x,),
        }

    def check(self, op: str, got: tuple[np.ndarray, ...], allowed: float) -> float:
        """Raise if any array of a result is off.

        Parameters
        ----------
        op : str
            forward, backward, fused forward, fused backward, eval or copy.
        got : tuple of ndarray
            y; or dx, dweight and dbias (and dresidual); x's layout, all channels.
        allowed : float
            How far it may be off.

        Returns
        -------
        float
            How far it is off at most, relative to max(1, |right|); of a sum, to its count.
        """
        worst = 0.0
        backward = ("dx", "dweight", "dbias", "dresidual")[: len(self._want[op])]
        names = backward if op.endswith("backward") else ("y",)
        for name, array, want in zip(names, got, self._want[op], strict=True):
            per_channel = name in ("dweight", "dbias")
            shape = self._data.weight.shape if per_channel else self._data.x.shape
            if array.shape != shape:
                raise WrongResultError(f"{op}: {name} has shape {array.shape}, expected {shape}")
            some = array[self._channels] if per_channel else self._some(array)
            # a sum of M values may be off by M times what one of them may
            scale = self._count if per_channel else np.maximum(1, np.abs(want))
            off = (np.abs(some - want) / scale).max()
            if not off <= allowed:  # NaN is wrong as well
                raise WrongResultError(f"{op}: {name} is off by {off:.1e}, allowed {allowed:.0e}")
            worst = max(worst, float(off))
        return worst

    def _some(self, array: np.ndarray) -> np.ndarray:
        return np.take(array, self._channels, axis=self._data.axis).astype(np.float64)
