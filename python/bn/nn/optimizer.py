"""What all optimizers share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from bn import _check
from bn.module import Array, Parameter


class Optimizer:
    """What optimizers share: the parameters, each with its state, and a scratch array.

    Parameters
    ----------
    params : iterable of Parameter
        As ``model.parameters()`` returns them.
    lr : float
        The learning rate; schedules set it as an attribute.
    weight_decay : float
        The strength of the pull to zero.

    Examples
    --------
    >>> from bn import nn
    >>> isinstance(nn.SGD([nn.Parameter(np.ones(2))], lr=0.1), Optimizer)
    True
    """

    _options: ClassVar[tuple[str, ...]] = ()
    _slots: ClassVar[tuple[str, ...]] = ()  # what the state of a parameter may hold

    def __init__(self, params: Iterable[Parameter], lr: float, weight_decay: float) -> None:
        self.params = list(params)
        _check.parameters(self.params, Parameter)
        _check.at_least("lr", lr, 0)
        _check.at_least("weight_decay", weight_decay, 0)
        self.lr, self.weight_decay = lr, weight_decay
        self.state: list[dict[str, Any]] = [{} for _ in self.params]
        self._scratch: dict[np.dtype[Any], Array] = {}

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.params:
            p.grad = None

    def step(self) -> None:
        """Change every parameter that has a gradient, or raise and change none.

        Raises
        ------
        TypeError
            A gradient is no array, or not of its parameter's dtype.
        ValueError
            A gradient is not of its parameter's shape.
        """
        _check.gradients(self.params)
        for p, state in zip(self.params, self.state, strict=True):
            if p.grad is not None:
                self._update(p.data, p.grad, state, self._scratch_like(p.data))

    def _update(self, p: Array, grad: Array, state: dict[str, Any], scratch: Array) -> None:
        raise NotImplementedError(f"{type(self).__name__}._update")

    def _scratch_like(self, p: Array) -> Array:
        """A part of the one scratch array for p's dtype, as long as the longest parameter."""
        if p.dtype not in self._scratch:
            longest = max(q.size for q in self.params if q.dtype == p.dtype)
            self._scratch[p.dtype] = np.empty(longest, p.dtype)
        return self._scratch[p.dtype][: p.size].reshape(p.shape)

    def state_dict(self) -> dict[str, Any]:
        """The options and, for each parameter, copies of what the optimizer remembers.

        Returns
        -------
        dict
            ``{"options": {...}, "state": [{...}, ...]}``, in the order of the parameters.
        """
        copies = [{key: np.copy(value) for key, value in state.items()} for state in self.state]
        return {"options": {name: getattr(self, name) for name in self._options}, "state": copies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` of an optimizer of this kind returned.

        Raises
        ------
        ValueError
            It is of another kind or of other parameters, or an option is out of range; nothing
            is changed.
        TypeError
            What it remembers are not numbers.
        """
        shapes = [p.shape for p in self.params]
        _check.optimizer_state(self._options, self._slots, shapes, state)
        type(self)(self.params, **state["options"])  # checks the options as it always does
        for name in self._options:
            setattr(self, name, state["options"][name])
        self.state = [
            {k: int(v) if k == "step" else np.array(v, p.dtype) for k, v in s.items()}
            for p, s in zip(self.params, state["state"], strict=True)
        ]
