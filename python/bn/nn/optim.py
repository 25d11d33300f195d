"""Optimizers: `SGD`, `Adam` and `AdamW` with PyTorch's formulas, and their base class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from bn import _check
from bn._core import core
from bn.module import Module
from bn.parameter import Parameter
from bn.types import Array


class Optimizer:
    """The base class of optimizers: it holds the parameters and a state for each of them.

    A new optimizer defines `update`, and names its options and what it stores in `option_names`
    and `state_names`, so that `state_dict` and `load_state_dict` know them.

    Parameters
    ----------
    params : iterable of Parameter
        For instance ``model.parameters()``.
    lr : float
        The learning rate. Schedules set the attribute of this name.
    weight_decay : float
        How strongly parameters are pulled towards zero.

    Attributes
    ----------
    params : list of Parameter
    state : list of dict
        For each parameter, what `update` stored; empty before its first step.
    option_names : tuple of str, of the class
        The options: each is an attribute, and a keyword argument of the constructor.
    state_names : tuple of str, of the class
        The keys that the state of a parameter has after its first step. The value of ``"step"`` is
        a whole number; every other value is an array of the parameter's shape and dtype.

    Raises
    ------
    ValueError
        There are no parameters, one is given twice, or an option is out of range.
    TypeError
        `params` holds something else.

    Examples
    --------
    An optimizer whose steps depend on the sign of the gradient only:

    >>> class SignSGD(Optimizer):
    ...     option_names = ("lr",)
    ...     def update(self, p, grad, state, scratch):
    ...         p -= np.multiply(np.sign(grad), self.lr, out=scratch)
    >>> p = Parameter(np.array([1.0, 2.0]))
    >>> p.grad = np.array([-0.1, 5.0])
    >>> SignSGD([p], lr=0.5).step(); p.data
    array([1.5, 1.5])
    """

    option_names: ClassVar[tuple[str, ...]] = ()
    state_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Iterable[Parameter], lr: float, weight_decay: float = 0.0) -> None:
        _check.no_module("params", params, Module)
        _check.several("params", params)
        self.params = list(params)
        _check.parameters(self.params, Parameter)
        _check.at_least("lr", lr, 0)
        _check.at_least("weight_decay", weight_decay, 0)
        self.lr, self.weight_decay = lr, weight_decay
        self.state: list[dict[str, Any]] = [{} for _ in self.params]
        self._scratch: dict[np.dtype[Any], Array] = {}

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient, or raise and update none.

        Raises
        ------
        TypeError
            A gradient is no array, or does not have its parameter's dtype.
        ValueError
            A gradient does not have its parameter's shape.
        """
        _check.gradients(self.params)
        for p, state in zip(self.params, self.state, strict=True):
            if p.grad is not None:
                self.update(p.data, p.grad, state, self._scratch_like(p.data))

    def update(self, p: Array, grad: Array, state: dict[str, Any], scratch: Array) -> None:
        """Change one parameter in place; each optimizer defines this.

        Parameters
        ----------
        p : ndarray
            The values of the parameter.
        grad : ndarray
            Its gradient, of the same shape and dtype, which must stay as it is.
        state : dict
            What earlier updates of this parameter stored; empty the first time.
        scratch : ndarray
            An array of the same shape and dtype for intermediate results. All parameters share its
            memory.
        """
        raise NotImplementedError(f"{type(self).__name__}.update")

    def _scratch_like(self, p: Array) -> Array:
        """A part of the scratch array for p's dtype, which is as long as the longest parameter."""
        if p.dtype not in self._scratch:
            longest = max(q.size for q in self.params if q.dtype == p.dtype)
            self._scratch[p.dtype] = np.empty(longest, p.dtype)
        return self._scratch[p.dtype][: p.size].reshape(p.shape)

    def state_dict(self) -> dict[str, Any]:
        """The options, and copies of the states of all parameters.

        Returns
        -------
        dict
            ``{"options": {...}, "state": [{...}, ...]}``, in the order of the parameters.
        """
        copies = [{key: np.copy(value) for key, value in state.items()} for state in self.state]
        options = {name: getattr(self, name) for name in self.option_names}
        return {"options": options, "state": copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` of an optimizer of this class returned.

        Raises
        ------
        ValueError
            The state is of another optimizer or of other parameters, or an option is out of range;
            nothing is changed.
        TypeError
            A stored value is not numeric; nothing is changed.
        """
        shapes = [p.shape for p in self.params]
        _check.optimizer_state(self.option_names, self.state_names, shapes, state)
        type(self)(self.params, **state["options"])  # raises if an option is out of range
        for name in self.option_names:
            setattr(self, name, state["options"][name])
        self.state = [
            {k: int(v) if k == "step" else np.array(v, p.dtype) for k, v in s.items()}
            for p, s in zip(self.params, state["state"], strict=True)
        ]


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
        _check.flag("nesterov", nesterov)
        if nesterov:
            _check.nesterov(momentum, dampening)
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov

    def update(self, p: Array, grad: Array, state: dict[str, Any], scratch: Array) -> None:
        buffer, gain = None, 1.0
        if self.momentum != 0:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = np.zeros_like(p)
            else:
                gain -= self.dampening
        decay, momentum = self.weight_decay, self.momentum
        core.sgd_step(p, grad, buffer, self.lr, decay, momentum, gain, self.nesterov)
        if buffer is not None:
            state["momentum_buffer"] = buffer


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

    option_names = ("lr", "betas", "eps", "weight_decay")
    state_names = ("step", "exp_avg", "exp_avg_sq")

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

    def update(self, p: Array, grad: Array, state: dict[str, Any], scratch: Array) -> None:
        self._adam(p, grad, state, decay=self.weight_decay)

    def _adam(
        self, p: Array, grad: Array, state: dict[str, Any], decay: float, shrink: float = 1.0
    ) -> None:
        if not state:
            state.update(step=0, exp_avg=np.zeros_like(p), exp_avg_sq=np.zeros_like(p))
        (beta1, beta2), m, v = self.betas, state["exp_avg"], state["exp_avg_sq"]
        state["step"] = step = state["step"] + 1
        root, step_size = (1 - beta2**step) ** 0.5, self.lr / (1 - beta1**step)
        core.adam_step(p, grad, m, v, shrink, decay, beta1, beta2, root, self.eps, step_size)


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

    def update(self, p: Array, grad: Array, state: dict[str, Any], scratch: Array) -> None:
        self._adam(p, grad, state, decay=0, shrink=1 - self.lr * self.weight_decay)
