"""What is measured: the shapes of `shapes.csv`, and the numbers that fill them."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

EPS = 1e-5
SHAPES = Path(__file__).with_name("shapes.csv")
POOL = 1_000_003  # random numbers; a tensor repeats them, channels do not line up with them


@dataclass(frozen=True)
class Case:
    """One tensor, seen channels-first: (N, C, ...)."""

    family: str
    shape: tuple[int, ...]
    dtype: str
    quick: bool

    @property
    def name(self) -> str:
        """For example ``resnet50 32x64x56x56 float32``."""
        return f"{self.family} {'x'.join(map(str, self.shape))} {self.dtype}"

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * {"float64": 8, "float32": 4, "bfloat16": 2}[self.dtype]

    @property
    def layouts(self) -> tuple[str, ...]:
        """Channels first and last; (N, C) is both."""
        return ("first",) if len(self.shape) == 2 else ("first", "last")


@dataclass(frozen=True)
class Data:
    """A case's arrays in one layout; the per-channel ones are float32, or float64 like x."""

    case: Case
    layout: str
    x: np.ndarray
    dy: np.ndarray
    residual: np.ndarray  # what the fused operations add; and the y whose sign their backward takes
    weight: np.ndarray
    bias: np.ndarray
    running_mean: np.ndarray
    running_var: np.ndarray

    @property
    def axis(self) -> int:
        return 1 if self.layout == "first" else -1


def read(path: Path = SHAPES) -> list[Case]:
    """Every case of a file, in its order."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return [
        Case(
            row["family"],
            tuple(int(n) for n in row["shape"].split("x")),
            row["dtype"],
            row["quick"] == "quick",
        )
        for row in csv.DictReader(lines)
    ]


def chosen(cases: list[Case], pattern: str, quick: bool) -> list[Case]:
    """The cases whose name matches a regular expression (with `quick`: of the quick ones)."""
    return [c for c in cases if re.search(pattern, c.name) and (c.quick or not quick)]


def make(case: Case, layout: str) -> Data:
    """The same numbers in every process; means and spreads differ from channel to channel."""
    rng = np.random.default_rng(0)
    channels = case.shape[1]
    per_channel = "float64" if case.dtype == "float64" else "float32"
    column = (channels,) + (1,) * (len(case.shape) - 2)
    center, spread = rng.uniform(-1, 1, column), rng.uniform(0.5, 2, column)
    pool = rng.standard_normal(POOL, dtype=np.float32)
    x = np.resize(pool, case.shape) * spread.astype(np.float32)
    x += center.astype(np.float32)
    dy = np.resize(pool[::-1], case.shape)
    dy += 0.5 * x  # so that neither of the backward sums is near 0
    dy += 0.5
    residual = np.resize(pool[::3], case.shape)
    small = [rng.uniform(0.5, 1.5, channels).astype(per_channel) for _ in range(4)]
    x, dy, residual = (_laid_out(a, case.dtype, layout) for a in (x, dy, residual))
    return Data(case, layout, x, dy, residual, *small)


def _laid_out(x: np.ndarray, dtype: str, layout: str) -> np.ndarray:
    if dtype == "bfloat16":
        import ml_dtypes

        x = x.astype(ml_dtypes.bfloat16)
    moved = np.moveaxis(x, 1, -1) if layout == "last" else x
    return np.ascontiguousarray(moved, None if dtype == "bfloat16" else dtype)
