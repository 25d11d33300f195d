"""The optimizers: `SGD`, `Adam`, `AdamW` and `RMSprop`, with PyTorch's formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from bn import _check
from bn._core import core
from bn.nn.optimizer import CompiledOptimizer, Option
from bn.parameter import Parameter
from bn.types import Array

Params: TypeAlias = Iterable[Parameter] | Iterable[Mapping[str, Any]]
State: TypeAlias = dict[str, Any]
Rows: TypeAlias = tuple[list[Array], list[Array], list[State]]


def alike(
    key: Callable[[State], Any], params: list[Array], grads: list[Array], states: list[State]
) -> Iterator[tuple[Any, Rows]]:
    """(key, (params, grads, states)) of the parameters whose states have one key.

    Most often that is one key for all: they differ if some parameters had no gradient in a step.
    """
    keys = list(map(key, states))
    different = dict.fromkeys(keys)
    if len(different) == 1:
        yield keys[0], (params, grads, states)
        return
    for each in different:
        chosen = [i for i, other in enumerate(keys) if other == each]
        p, g = ([arrays[i] for i in chosen] for arrays in (params, grads))
        yield each, (p, g, [states[i] for i in chosen])


def remembered(name: str, params: list[Array], states: list[State]) -> list[Array]:
    """What the states have under a name, and zeros where they have nothing."""
    pairs = zip(params, states, strict=True)
    return [state[name] if name in state else np.zeros_like(p) for p, state in pairs]


def remember(states: list[State], **arrays: list[Array]) -> None:
    for name, values in arrays.items():
        for state, value in zip(states, values, strict=True):
            state[name] = value


class SGD(CompiledOptimizer):
    r"""Stochastic gradient descent.

    With the gradient g, momentum m, dampening d, and :math:`g \leftarrow g + \lambda p` for the
    weight decay: :math:`b \leftarrow m b + (1 - d) g` (the first time b = g), then
    :math:`p \leftarrow p - lr\, b`, or with Nesterov's momentum
    :math:`p \leftarrow p - lr\, (g + m b)`.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        Parameters, or groups of them: dicts with ``"params"`` and options of their own.
    lr : float
        The learning rate.
    momentum : float
        m, 0 for none.
    dampening : float
        d.
    weight_decay : float
        λ.
    nesterov : bool
        Whether to use Nesterov's momentum, which needs a momentum and no dampening.

    Raises
    ------
    ValueError
        There are no parameters, or an option is out of range.

    References
    ----------
    torch.optim.SGD.

    Examples
    --------
    >>> p = Parameter(np.array([1.0]))
    >>> p.grad = np.array([0.5])
    >>> SGD([p], lr=0.1).step(); p.data
    array([0.95])
    """

    option_names = ("lr", "momentum", "dampening", "weight_decay", "nesterov")
    state_names = ("momentum_buffer",)

    momentum, dampening, nesterov = Option(), Option(), Option()

    def __init__(
        self,
        params: Params,
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov
        self.check_groups()

    def check_options(self, options: Mapping[str, Any]) -> None:
        _check.at_least("momentum", options["momentum"], 0)
        _check.finite("dampening", options["dampening"])
        _check.flag("nesterov", options["nesterov"])
        if options["nesterov"]:
            _check.nesterov(options["momentum"], options["dampening"])

    def step_arrays(self, params: list[Array], grads: list[Array], states: list[State]) -> None:
        decay, momentum = self.weight_decay, self.momentum
        if momentum == 0:
            core.sgd_step(params, grads, None, self.lr, decay, 0.0, 1.0, False)
            return
        for stepped, (p, grad, own) in alike(bool, params, grads, states):
            gain = 1 - self.dampening if stepped else 1.0
            buffers = remembered("momentum_buffer", p, own)
            core.sgd_step(p, grad, buffers, self.lr, decay, momentum, gain, self.nesterov)
            if not stepped:
                remember(own, momentum_buffer=buffers)


class Adam(CompiledOptimizer):
    r"""Adam, with L2 regularisation.

    With :math:`g \leftarrow g + \lambda p`: :math:`m \leftarrow β_1 m + (1 - β_1) g`,
    :math:`v \leftarrow β_2 v + (1 - β_2) g^2`,
    :math:`p \leftarrow p - lr\, \hat m / (\sqrt{\hat v} + ε)`, where after t steps
    :math:`\hat m = m / (1 - β_1^t)` and :math:`\hat v = v / (1 - β_2^t)`.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        Parameters, or groups of them: dicts with ``"params"`` and options of their own.
    lr : float
        The learning rate.
    betas : pair of float
        β₁ and β₂, each at least 0 and less than 1.
    eps : float
        ε.
    weight_decay : float
        λ.

    Raises
    ------
    ValueError
        There are no parameters, or an option is out of range.

    References
    ----------
    Kingma and Ba, "Adam: a method for stochastic optimization", 2014; torch.optim.Adam.

    Examples
    --------
    >>> p = Parameter(np.array([1.0]))
    >>> p.grad = np.array([0.5])
    >>> Adam([p], lr=0.1).step(); p.data
    array([0.9])
    """

    option_names = ("lr", "betas", "eps", "weight_decay")
    state_names = ("step", "exp_avg", "exp_avg_sq")

    betas, eps = Option(), Option()

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.betas, self.eps = betas, eps
        self.check_groups()

    def check_options(self, options: Mapping[str, Any]) -> None:
        _check.betas(options["betas"])
        _check.at_least("eps", options["eps"], 0)

    def step_arrays(self, params: list[Array], grads: list[Array], states: list[State]) -> None:
        self._adam(params, grads, states, decay=self.weight_decay)

    def _adam(
        self,
        params: list[Array],
        grads: list[Array],
        states: list[State],
        decay: float,
        shrink: float = 1.0,
    ) -> None:
        beta1, beta2 = self.betas
        for before, (p, grad, own) in alike(_steps, params, grads, states):
            step = before + 1
            m, v = remembered("exp_avg", p, own), remembered("exp_avg_sq", p, own)
            root, step_size = (1 - beta2**step) ** 0.5, self.lr / (1 - beta1**step)
            core.adam_step(p, grad, m, v, shrink, decay, beta1, beta2, root, self.eps, step_size)
            for state in own:
                state["step"] = step
            remember(own, exp_avg=m, exp_avg_sq=v)


def _steps(state: State) -> int:
    steps: int = state.get("step", 0)
    return steps


class AdamW(Adam):
    r"""Adam with decoupled weight decay, :math:`p \leftarrow p - lr\, \lambda p` before the step.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        Parameters, or groups of them: dicts with ``"params"`` and options of their own.
    lr : float
        The learning rate.
    betas : pair of float
        β₁ and β₂, each at least 0 and less than 1.
    eps : float
        ε.
    weight_decay : float
        λ.

    Raises
    ------
    ValueError
        There are no parameters, or an option is out of range.

    References
    ----------
    Loshchilov and Hutter, "Decoupled weight decay regularization", 2017; torch.optim.AdamW.

    Examples
    --------
    >>> p = Parameter(np.array([1.0]))
    >>> p.grad = np.array([0.0])
    >>> AdamW([p], lr=0.1, weight_decay=0.5).step(); p.data
    array([0.95])
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def step_arrays(self, params: list[Array], grads: list[Array], states: list[State]) -> None:
        shrink = 1 - self.lr * self.weight_decay
        self._adam(params, grads, states, decay=0.0, shrink=shrink)


class RMSprop(CompiledOptimizer):
    r"""Divides the gradient by the root of its mean square.

    With the gradient g, and :math:`g \leftarrow g + \lambda p` for the weight decay:
    :math:`v \leftarrow α v + (1 - α) g^2`, then :math:`p \leftarrow p - lr\, s` with the step
    :math:`s = g / (\sqrt{v} + ε)`. If it is centered, :math:`m \leftarrow α m + (1 - α) g` and the
    step is :math:`g / (\sqrt{v - m^2} + ε)`. With momentum μ,
    :math:`b \leftarrow μ b + s` takes the place of s.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        Parameters, or groups of them: dicts with ``"params"`` and options of their own.
    lr : float
        The learning rate.
    alpha : float
        α, at least 0 and at most 1.
    eps : float
        ε.
    weight_decay : float
        λ.
    momentum : float
        μ, 0 for none.
    centered : bool
        Whether to divide by the standard deviation of the gradient.

    Raises
    ------
    ValueError
        There are no parameters, or an option is out of range.

    Notes
    -----
    :math:`v - m^2` is a variance. Where rounding makes it negative, it counts as 0; PyTorch's
    parameter becomes NaN.

    References
    ----------
    Tieleman and Hinton, "Lecture 6.5: rmsprop", 2012; Graves, "Generating sequences with recurrent
    neural networks", 2013; torch.optim.RMSprop.

    Examples
    --------
    >>> p = Parameter(np.array([1.0]))
    >>> p.grad = np.array([0.5])
    >>> RMSprop([p], lr=0.1, alpha=0.75).step(); p.data.round(6)
    array([0.8])
    """

    option_names = ("lr", "alpha", "eps", "weight_decay", "momentum", "centered")
    state_names = ("square_avg",)
    optional_state_names = ("grad_avg", "momentum_buffer")

    alpha, eps, momentum, centered = Option(), Option(), Option(), Option()

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        self.alpha, self.eps = alpha, eps
        self.momentum, self.centered = momentum, centered
        self.check_groups()

    def check_options(self, options: Mapping[str, Any]) -> None:
        _check.interval("alpha", options["alpha"], 0, 1)
        _check.at_least("eps", options["eps"], 0)
        _check.at_least("momentum", options["momentum"], 0)
        _check.flag("centered", options["centered"])

    def step_arrays(self, params: list[Array], grads: list[Array], states: list[State]) -> None:
        used = {"square_avg": True, "grad_avg": self.centered, "momentum_buffer": self.momentum > 0}
        kept = {name: remembered(name, params, states) for name, is_used in used.items() if is_used}
        core.rmsprop_step(
            params,
            grads,
            kept["square_avg"],
            kept.get("grad_avg"),
            kept.get("momentum_buffer"),
            self.lr,
            self.weight_decay,
            self.alpha,
            self.eps,
            self.momentum,
        )
        remember(states, **kept)
