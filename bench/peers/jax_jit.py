"""JAX, jitted; the variance as Flax takes it, E[x²] - E[x]²."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from cases import EPS, Data

from peers import Call, Peer


class Jax(Peer):
    name = "JAX"

    def __init__(self, threads: int, tuned: bool) -> None:
        os.environ["NPROC"] = str(threads)  # what XLA takes for the number of cores
        os.environ["JAX_PLATFORMS"] = "cpu"
        import jax

        jax.config.update("jax_enable_x64", True)
        self._jax = jax

    def takes(self, data: Data) -> bool:
        return True

    def calls(self, data: Data) -> dict[str, Call]:
        jax, jnp = self._jax, self._jax.numpy
        axes = tuple(i for i in range(data.x.ndim) if i != data.axis % data.x.ndim)
        shape = [1] * data.x.ndim
        shape[data.axis] = -1
        wide = np.promote_types(data.weight.dtype, np.float32)  # bfloat16 is computed in float32

        def moments(x: Any) -> tuple[Any, Any]:
            x = x.astype(wide)
            mean = x.mean(axes)
            return mean, jnp.maximum((x * x).mean(axes) - mean * mean, 0)

        @jax.jit
        def normalize(x: Any, mean: Any, var: Any, weight: Any, bias: Any) -> Any:
            scale = (jax.lax.rsqrt(var + EPS) * weight).reshape(shape)
            y = (x.astype(wide) - mean.reshape(shape)) * scale + bias.reshape(shape)
            return y.astype(x.dtype)

        @jax.jit
        def forward(x: Any, weight: Any, bias: Any) -> Any:
            return normalize(x, *moments(x), weight, bias)

        @jax.jit
        def backward(dy: Any, x: Any, mean: Any, rstd: Any, weight: Any) -> tuple[Any, ...]:
            dy, count = dy.astype(wide), x.size // weight.size
            x_hat = (x.astype(wide) - mean.reshape(shape)) * rstd.reshape(shape)
            dbias, dweight = dy.sum(axes), (dy * x_hat).sum(axes)
            dx = dy - (dbias / count).reshape(shape) - x_hat * (dweight / count).reshape(shape)
            return ((weight * rstd).reshape(shape) * dx).astype(x.dtype), dweight, dbias

        @jax.jit
        def fused_forward(x: Any, weight: Any, bias: Any, residual: Any) -> Any:
            return jnp.maximum(normalize(x, *moments(x), weight, bias) + residual, 0)

        @jax.jit
        def fused_backward(dy: Any, y: Any, x: Any, mean: Any, rstd: Any, weight: Any) -> Any:
            g = jnp.where(y > 0, dy, 0)
            return (*backward(g, x, mean, rstd, weight), g)

        x, dy, residual, weight, bias, running_mean, running_var = (
            jnp.asarray(a)
            for a in (
                data.x, data.dy, data.residual, data.weight, data.bias, data.running_mean,
                data.running_var,
            )
        )  # fmt: skip
        mean, var = jax.jit(moments)(x)
        rstd = jax.lax.rsqrt(var + EPS)
        wait = jax.block_until_ready
        return {
            "forward": lambda: wait(forward(x, weight, bias)),
            "backward": lambda: wait(backward(dy, x, mean, rstd, weight)),
            "fused forward": lambda: wait(fused_forward(x, weight, bias, residual)),
            "fused backward": lambda: wait(fused_backward(dy, residual, x, mean, rstd, weight)),
            "eval": lambda: wait(normalize(x, running_mean, running_var, weight, bias)),
        }

    def arrays(self, op: str, result: Any, data: Data) -> tuple[np.ndarray, ...]:
        return tuple(np.asarray(a) for a in (result if op.endswith("backward") else (result,)))
