"""What `family.py` measures: shapes, their numbers, and the right results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

EPS = 1e-5
ROWS = [(8192, 768), (512, 4096), (64, 128, 64)]
RESNET50 = [  # images of its stages, at batch 32
    (32, 64, 112, 112),
    (32, 256, 56, 56),
    (32, 128, 28, 28),
    (32, 512, 28, 28),
    (32, 256, 14, 14),
    (32, 1024, 14, 14),
    (32, 2048, 7, 7),
]
CASES = [(kind, shape) for kind in ("LayerNorm", "RMSNorm") for shape in ROWS]
CASES += [(kind, shape) for kind in ("GroupNorm", "InstanceNorm") for shape in RESNET50]


@dataclass(frozen=True)
class Data:
    """The arrays of one case."""

    kind: str
    x: np.ndarray
    dy: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    @property
    def groups(self) -> int:
        return 32 if self.kind == "GroupNorm" else self.weight.size


def make(kind: str, shape: tuple[int, ...]) -> Data:
    """The same numbers in every process."""
    rng = np.random.default_rng(0)
    length = shape[-1] if kind in ("LayerNorm", "RMSNorm") else shape[1]
    x, dy = (rng.standard_normal(shape, np.float32) + np.float32(0.5) for _ in range(2))
    weight, bias = (rng.uniform(0.5, 1.5, length).astype(np.float32) for _ in range(2))
    return Data(kind, x, dy, weight, bias)


def check(data: Data, name: str, result: Any) -> None:
    """Raise if a call's result is not what float64 says, on the first and the last sample."""
    for i in (0, len(data.x) - 1):
        y, gradient = _right(data, i)
        got = np.asarray(result[0] if name == "backward" else result)[i]
        error = np.abs(got - (gradient if name == "backward" else y)).max()
        if not error < 1e-4:
            raise AssertionError(f"{name} of {data.kind} {data.x.shape} is off by {error:.1e}")


def _right(data: Data, i: int) -> tuple[np.ndarray, np.ndarray]:
    x, dy = data.x[i].astype(np.float64), data.dy[i].astype(np.float64)
    rows = data.kind in ("LayerNorm", "RMSNorm")
    shape = (-1,) if rows else (-1, *[1] * (x.ndim - 1))
    grouped = x.shape if rows else (data.groups, -1)
    weight, bias = data.weight.reshape(shape), data.bias.reshape(shape)
    parts, about_zero = x.reshape(grouped), data.kind == "RMSNorm"
    mean = 0 if about_zero else parts.mean(-1, keepdims=True)
    rstd = 1 / np.sqrt(((parts - mean) ** 2).mean(-1, keepdims=True) + EPS)
    xhat, g = (parts - mean) * rstd, (dy * weight).reshape(grouped)
    own = 0 if about_zero else g.mean(-1, keepdims=True)
    dx = rstd * (g - own - xhat * (g * xhat).mean(-1, keepdims=True))
    y = xhat.reshape(x.shape) * weight
    return (y if about_zero else y + bias), dx.reshape(x.shape)
