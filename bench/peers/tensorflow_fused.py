"""TensorFlow's fused operator, channels-last as on every CPU; any rank as (N, space, 1, C)."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from cases import EPS, Data

from peers import Call, Peer


class TensorFlow(Peer):
    name = "TensorFlow"

    def __init__(self, threads: int, tuned: bool) -> None:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
        self._tf = tensorflow

    def takes(self, data: Data) -> bool:
        last = data.layout == "last" or data.x.ndim == 2
        return last and data.case.dtype != "float64"

    def calls(self, data: Data) -> dict[str, Call]:
        tf, ops = self._tf, self._tf.raw_ops
        images = (data.x.shape[0], -1, 1, data.x.shape[-1])
        x, dy = (tf.constant(a.reshape(images)) for a in (data.x, data.dy))
        weight, bias, running_mean, running_var = (
            tf.constant(a) for a in (data.weight, data.bias, data.running_mean, data.running_var)
        )
        common = {"x": x, "scale": weight, "offset": bias, "epsilon": EPS}
        nothing = tf.constant([], tf.float32)
        training = {**common, "mean": nothing, "variance": nothing, "is_training": True}
        running = {**common, "mean": running_mean, "variance": running_var, "is_training": False}
        saved = ops.FusedBatchNormV3(**training)[3:]
        kept = {f"reserve_space_{i}": a for i, a in enumerate(saved, 1)}
        return {
            "forward": lambda: ops.FusedBatchNormV3(**training),
            "backward": lambda: ops.FusedBatchNormGradV3(
                y_backprop=dy, x=x, scale=weight, epsilon=EPS, is_training=True, **kept
            ),
            "eval": lambda: ops.FusedBatchNormV3(**running),
        }

    def arrays(self, op: str, result: Any, data: Data) -> tuple[np.ndarray, ...]:
        y = result[0].numpy().reshape(data.x.shape)
        return (y, *(a.numpy() for a in result[1:3])) if op == "backward" else (y,)
