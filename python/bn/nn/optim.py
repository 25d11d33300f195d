"""Optimizers, to PyTorch's formulas, in place and with one scratch array."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from bn import _check
from bn.module import Array, Parameter
from bn.nn.optimizer import Optimizer


class SGD(Optimizer):
    r"""Stochastic gradient descent.

    With the gradient g, momentum m, dampening d, and :math:`g \leftarrow g + \lambda p` for the
    weight decay: :math:`b \leftarrow m b + (1 - d) g` (the first time b = g), then
    :math:`p \leftarrow p - lr\, b`, or with Nesterov's momentum
    :math:`p \leftarrow p - lr\, (g + m b)`.

    Parameters
    ----------
    params : iterable of Parameter
    lr : float
        The learning rate.
    momentum : float
        m, 0 for none.
    dampening : float
        d.
    weight_decay : float
        λ.
    nesterov : bool
        Needs a momentum and no dampening.

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

    _options = ("lr", "momentum", "dampening", "weight_decay", "nesterov")
    _slots = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        _check.at_least("momentum", momentum, 0)
        _check.finite("dampening", dampening)
        if nesterov:
            _check.nesterov(momentum, dampening)
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov

    def _update(self, p: Array, grad: Array, state: dict[str, Any], scratch: Array) -> None:
        g = _with_decay(p, grad, self.weight_decay, scratch)
        if self.momentum == 0:
            p -= np.multiply(g, self.lr, out=scratch)
            return
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = buffer = g.copy()
        else:
            buffer = state["momentum_buffer"]
            buffer *= self.momentum
            buffer += g if self.dampening == 0 else np.multiply(g, 1 - self.dampening, out=scratch)
        if not self.nesterov:
            p -= np.multiply(buffer, self.lr, out=scratch)
            return
        # lr * g and lr * momentum * buffer one after the other, as there is one scratch array.
        p -= np.multiply(g, self.lr, out=scratch)
        p -= np.multiply(buffer, self.lr * self.momentum, out=scratch)


class Adam(Optimizer):
    r"""Adam, with L2 regularisation.

    With :math:`g \leftarrow g + \lambda p`: :math:`m \leftarrow β_1 m + (1 - β_1) g`,
    :math:`v \leftarrow β_2 v + (1 - β_2) g^2`,
    :math:`p \leftarrow p - lr\, \hat m / (\sqrt{\hat v} + ε)`, where after t steps
    :math:`\hat m = m / (1 - β_1^t)` and :math:`\hat v = v / (1 - β_2^t)`.

    Parameters
    ----------
    params : iterable of Parameter
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

    _options = ("lr", "betas", "eps", "weight_decay")
    _slots = ("step", "exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        _check.betas(betas)
        _check.at_least("eps", eps, 0)
        self.betas, self.eps = betas, eps

    def _update(self, p: Array, grad: Array, state: dict[str, Any], scratch: Array) -> None:
        self._adam(p, grad, state, scratch, self.weight_decay)

    def _adam(
        self, p: Array, grad: Array, state: dict[str, Any], scratch: Array, decay: float
    ) -> None:
        if not state:
            state.update(step=0, exp_avg=np.zeros_like(p), exp_avg_sq=np.zeros_like(p))
        (beta1, beta2), m, v = self.betas, state["exp_avg"], state["exp_avg_sq"]
        state["step"] = step = state["step"] + 1
        m *= beta1
        m += np.multiply(_with_decay(p, grad, decay, scratch), 1 - beta1, out=scratch)
        v *= beta2
        np.square(_with_decay(p, grad, decay, scratch), out=scratch)
        v += np.multiply(scratch, 1 - beta2, out=scratch)
        np.sqrt(v, out=scratch)
        scratch /= (1 - beta2**step) ** 0.5
        scratch += self.eps
        np.divide(m, scratch, out=scratch)
        p -= np.multiply(scratch, self.lr / (1 - beta1**step), out=scratch)


class AdamW(Adam):
    r"""Adam with decoupled weight decay, :math:`p \leftarrow p - lr\, \lambda p` before the step.

    Parameters
    ----------
    params : iterable of Parameter
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
        params: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def _update(self, p: Array, grad: Array, state: dict[str, Any], scratch: Array) -> None:
        p *= 1 - self.lr * self.weight_decay
        self._adam(p, grad, state, scratch, decay=0)


def _with_decay(p: Array, grad: Array, decay: float, scratch: Array) -> Array:
    """Return grad + decay * p: in `scratch`, or grad itself where there is no decay."""
    if decay == 0:
        return grad
    np.multiply(p, decay, out=scratch)
    scratch += grad
    return scratch
