"""`bn`, through its public functions; tuned means `out=`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from cases import EPS, Data

from peers import Call, Peer


class Ours(Peer):
    name = "bn"
    tuned_env: ClassVar[dict[str, str]] = {}
    tolerance: ClassVar[dict[str, float]] = {"float64": 1e-12, "float32": 5e-6, "bfloat16": 8e-3}

    def __init__(self, threads: int, tuned: bool) -> None:
        import bn

        bn.set_num_threads(threads)
        self._bn, self._tuned = bn, tuned

    def takes(self, data: Data) -> bool:
        return True

    def calls(self, data: Data) -> dict[str, Call]:
        bn, d = self._bn, data
        kwargs = {"axis": d.axis, "out": np.zeros_like(d.x) if self._tuned else None}
        batch = bn.stats(d.x, d.axis)
        var = batch.var

        def backward() -> tuple[np.ndarray, ...]:
            dx, sums = bn.backward_batch(d.dy, d.x, batch, d.weight, EPS, **kwargs)
            return dx, sums.dweight(var, EPS), sums.dbias

        fused = {"activation": "relu", **kwargs}
        dresidual = np.zeros_like(d.x)

        def fused_backward() -> tuple[np.ndarray, ...]:
            dx, sums = bn.backward_batch(
                d.dy, d.x, batch, d.weight, EPS, y=d.residual, dresidual=dresidual, **fused
            )
            return dx, sums.dweight(var, EPS), sums.dbias, dresidual

        return {
            "forward": lambda: bn.normalize_batch(d.x, d.weight, d.bias, EPS, **kwargs),
            "backward": backward,
            "fused forward": lambda: bn.normalize_batch(
                d.x, d.weight, d.bias, EPS, residual=d.residual, **fused
            ),
            "fused backward": fused_backward,
            "eval": lambda: bn.normalize(
                d.x, d.running_mean, d.running_var, d.weight, d.bias, EPS, **kwargs
            ),
        }

    def arrays(self, op: str, result: Any, data: Data) -> tuple[np.ndarray, ...]:
        if op == "eval":
            return (result,)
        return result if op.endswith("backward") else result[:1]


class OursOneThread(Ours):
    name = "bn, 1 thread"
    columns = ("plain",)

    def __init__(self, threads: int, tuned: bool) -> None:
        super().__init__(1, tuned)
