"""Steps of optimizers with Keras's formulas, where these are not those of `bn.nn`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from bn import nn
from bn._core import core
from bn.nn.optim import alike, remember, remembered
from bn.parameter import Parameter
from bn.types import Array

if TYPE_CHECKING:
    from bn.keras.optimizers import Optimizer

State = dict[str, Any]


class Steps(nn.Optimizer):
    """What happens before each step: the rate of the schedule, clipping, weight decay.

    Parameters
    ----------
    params : iterable of Parameter
    rule : Optimizer
        What `bn.keras` was told of it.
    """

    option_names = ("lr",)

    def __init__(self, params: Iterable[Parameter], rule: Optimizer) -> None:
        self.rule = rule
        super().__init__(params, rule.learning_rate)

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        rule = self.rule
        self.lr = rule.learning_rate
        stepped = [p for p in self.params if p.grad is not None]
        rule.clip(stepped)
        if rule.weight_decay:
            for p in stepped:
                p.data *= p.data.dtype.type(1 - self.lr * rule.weight_decay)
        super().step()
        rule.iterations += 1


class SGDSteps(Steps):
    """``v = momentum·v - lr·g``, then ``p = p + v``, or with Nesterov ``p + momentum·v - lr·g``.

    Parameters
    ----------
    params : iterable of Parameter
    rule : SGD
    """

    state_names = ("velocity",)

    def update_group(self, params: list[Array], grads: list[Array], states: list[State]) -> None:
        momentum, nesterov = self.rule.momentum, self.rule.nesterov  # type: ignore[attr-defined]
        if momentum == 0:
            core.sgd_step(params, grads, None, self.lr, 0.0, 0.0, 1.0, False)
            return
        # The core's buffers are -v: they have the rate in them, and are subtracted as they are.
        buffers = remembered("velocity", params, states)
        if nesterov:
            for p, grad, buffer in zip(params, grads, buffers, strict=True):
                _look_ahead(p, grad, buffer, momentum, self.lr)
        else:
            core.sgd_step(params, grads, buffers, 1.0, 0.0, momentum, self.lr, False)
        remember(states, velocity=buffers)


class AdamSteps(Steps):
    """Adam with ε beside the root before its bias is corrected, ``α·m / (sqrt(v) + ε)``.

    Parameters
    ----------
    params : iterable of Parameter
    rule : Adam
    """

    state_names = ("step", "exp_avg", "exp_avg_sq")

    def update_group(self, params: list[Array], grads: list[Array], states: list[State]) -> None:
        rule: Any = self.rule
        beta1, beta2 = rule.beta_1, rule.beta_2
        for before, (p, grad, own) in alike(_steps, params, grads, states):
            step = before + 1
            m, v = remembered("exp_avg", p, own), remembered("exp_avg_sq", p, own)
            root, step_size = (1 - beta2**step) ** 0.5, self.lr / (1 - beta1**step)
            eps = rule.epsilon / root  # the core adds it where the root's bias is corrected
            core.adam_step(p, grad, m, v, 1.0, 0.0, beta1, beta2, root, eps, step_size)
            for state in own:
                state["step"] = step
            remember(own, exp_avg=m, exp_avg_sq=v)


class RMSpropSteps(Steps):
    """RMSprop with ε inside of the root, and the rate inside of the momentum.

    Parameters
    ----------
    params : iterable of Parameter
    rule : RMSprop
    """

    state_names = ("square_avg",)
    optional_state_names = ("grad_avg", "momentum_buffer")

    def update(self, p: Array, grad: Array, state: State, scratch: Array) -> None:
        rule: Any = self.rule
        kept = state.setdefault("square_avg", np.zeros_like(p))
        _average(kept, np.square(grad, out=scratch), rule.rho)
        below = kept + p.dtype.type(rule.epsilon)
        if rule.centered:
            mean = state.setdefault("grad_avg", np.zeros_like(p))
            _average(mean, grad, rule.rho)
            below -= np.square(mean)
        moved = grad * p.dtype.type(self.lr) / np.sqrt(below)
        if rule.momentum > 0:
            buffer = state.setdefault("momentum_buffer", np.zeros_like(p))
            buffer *= p.dtype.type(rule.momentum)
            buffer += moved
            moved = buffer
        p -= moved


def _look_ahead(p: Array, grad: Array, buffer: Array, momentum: float, lr: float) -> None:
    """Make Nesterov's step, ``buffer = momentum·buffer + lr·g``, then the same again for p."""
    m, moved = p.dtype.type(momentum), grad * p.dtype.type(lr)
    buffer *= m
    buffer += moved
    p -= buffer * m + moved


def _average(kept: Array, new: Array, rho: float) -> None:
    """Let an average follow: ``kept = rho·kept + (1 - rho)·new``."""
    kept *= kept.dtype.type(rho)
    kept += new * kept.dtype.type(1 - rho)


def _steps(state: State) -> int:
    steps: int = state.get("step", 0)
    return steps
