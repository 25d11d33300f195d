"""The base class of optimizers, and that of the optimizers whose steps are compiled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from bn import _check
from bn._core import core
from bn.nn.param_groups import Group, as_groups, as_saved_groups, as_states
from bn.parameter import Parameter
from bn.types import Array


class Option:
    """An option of an optimizer as its attribute; the values are in the groups.

    The attribute is the value of the group that steps, between steps that of the first group. The
    first value that is set, by the constructor, is for groups without a value of their own. Later
    ones are for all groups.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: type) -> Any:
        return self if optimizer is None else optimizer.stepping[self.name]

    def __set__(self, optimizer: Any, value: object) -> None:
        first = self.name not in optimizer.defaults
        optimizer.defaults.setdefault(self.name, value)
        for group in optimizer.param_groups:
            if not (first and self.name in group):
                group[self.name] = value


class Optimizer:
    """The base class of optimizers: it holds the parameters and a state for each of them.

    A new optimizer defines `update`, and names its options and what it stores in `option_names`
    and `state_names`, so that `state_dict`, `load_state_dict` and groups of parameters know them.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        For instance ``model.parameters()``. Or groups of parameters: dicts with ``"params"`` and
        with those options that are not as the other arguments say.
    lr : float
        The learning rate. Schedules set it in each group.
    weight_decay : float
        How strongly parameters are pulled towards zero.

    Attributes
    ----------
    params : list of Parameter
        Those of all groups.
    param_groups : list of dict
        The groups, each with its ``"params"`` and a value for every option, which may be changed
        between steps.
    state : list of dict
        For each parameter, what `update` stored; empty before its first step.
    defaults : dict
        The options of groups that do not say otherwise.
    initial_options : dict of list
        For each option its values of all groups, as the constructor got them; schedules do not
        change these.
    option_names : tuple of str, of the class
        The options: each is an attribute, and a keyword argument of the constructor. While `update`
        runs, the attribute is the option of the parameter's group; between steps it is that of the
        first group. Setting it sets the option of all groups.
    state_names : tuple of str, of the class
        The keys that the state of a parameter has after its first step. The value of ``"step"`` is
        a whole number; every other value is an array of the parameter's shape and dtype.
    optional_state_names : tuple of str, of the class
        Further keys that it may have.

    Raises
    ------
    ValueError
        There are no parameters, one is given twice, a group has an unknown option, or an option is
        out of range.
    TypeError
        `params` holds something else.

    See Also
    --------
    no_decay : Two groups, of which one has no weight decay.

    Examples
    --------
    An optimizer whose steps depend on the sign of the gradient only:

    >>> class SignSGD(Optimizer):
    ...     option_names = ("lr",)
    ...     def update(self, p, grad, state, scratch):
    ...         p -= np.multiply(np.sign(grad), self.lr, out=scratch)
    >>> p, q = Parameter(np.array([1.0, 2.0])), Parameter(np.array([1.0]))
    >>> p.grad, q.grad = np.array([-0.1, 5.0]), np.array([1.0])
    >>> SignSGD([{"params": [p]}, {"params": [q], "lr": 0.25}], lr=0.5).step(); p.data, q.data
    (array([1.5, 1.5]), array([0.75]))
    """

    option_names: ClassVar[tuple[str, ...]] = ()
    state_names: ClassVar[tuple[str, ...]] = ()
    optional_state_names: ClassVar[tuple[str, ...]] = ()

    lr = Option()
    weight_decay = Option()

    _stepping = 0  # the number of the group

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in cls.option_names:
            if not hasattr(cls, name):
                option = Option()
                option.__set_name__(cls, name)
                setattr(cls, name, option)

    def __init__(
        self,
        params: Iterable[Parameter] | Iterable[Mapping[str, Any]],
        lr: float,
        weight_decay: float = 0.0,
    ) -> None:
        known = dict.fromkeys(("lr", "weight_decay", *self.option_names))
        self.defaults: dict[str, Any] = {}
        self.param_groups: list[Group] = as_groups(type(self).__name__, params, tuple(known))
        self.params: list[Parameter] = [p for g in self.param_groups for p in g["params"]]
        _check.parameters(self.params, Parameter)
        self._given = [dict(group) for group in self.param_groups]
        self.lr, self.weight_decay = lr, weight_decay
        for group in self.param_groups:
            _check.at_least("lr", group["lr"], 0)
            _check.at_least("weight_decay", group["weight_decay"], 0)
        self.state: list[dict[str, Any]] = [{} for _ in self.params]
        self._scratch: dict[np.dtype[Any], Array] = {}

    @property
    def stepping(self) -> Group:
        """The group that steps; between steps the first one."""
        return self.param_groups[self._stepping]

    @property
    def initial_options(self) -> dict[str, list[Any]]:
        """For each option its values of all groups, as the constructor got them."""
        return {
            name: [group.get(name, self.defaults.get(name)) for group in self._given]
            for name in self.option_names
        }

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
        batches = list(self._batches())
        for _, params, grads, _ in batches:
            if not core.all_fit(params, grads):
                _check.gradients(self.params)
        try:
            for number, params, grads, states in batches:
                self._stepping = number
                self.update_group(params, grads, states)
        finally:
            self._stepping = 0

    def _batches(
        self,
    ) -> Iterator[tuple[int, list[Array], list[Array], list[dict[str, Any]]]]:
        """(number, values, gradients, states) of each group, of the parameters with a gradient."""
        first = 0
        for number, group in enumerate(self.param_groups):
            params = group["params"]
            pairs = zip(params, self.state[first : first + len(params)], strict=True)
            rows = [(p.data, p.grad, state) for p, state in pairs if p.grad is not None]
            first += len(params)
            if rows:
                data, grads, states = zip(*rows, strict=True)
                yield number, list(data), list(grads), list(states)

    def update_group(
        self, params: list[Array], grads: list[Array], states: list[dict[str, Any]]
    ) -> None:
        """Change the parameters of a group in place, one after the other with `update`.

        Parameters
        ----------
        params, grads : list of ndarray
            Values, and gradients of the same shapes and dtypes.
        states : list of dict
            What earlier updates of each parameter stored.
        """
        for p, grad, state in zip(params, grads, states, strict=True):
            self.update(p, grad, state, self._scratch_like(p))

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
        """The options of all groups, and copies of the states of all parameters.

        Returns
        -------
        dict
            ``{"param_groups": [{...}, ...], "state": [{...}, ...]}``. The ``"params"`` of a group
            are numbers, which count the parameters of all groups, as the states do.
        """
        copies = [{key: np.copy(value) for key, value in state.items()} for state in self.state]
        groups, first = [], 0
        for group in self.param_groups:
            end = first + len(group["params"])
            groups.append({"params": list(range(first, end)), **self._options(group)})
            first = end
        return {"param_groups": groups, "state": copies}

    def _options(self, group: Group) -> dict[str, Any]:
        return {n: group[n] if n in group else getattr(self, n) for n in self.option_names}

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
        sizes = [len(group["params"]) for group in self.param_groups]
        groups = as_saved_groups(state, sizes, self.option_names)
        names = self.state_names, self.optional_state_names
        _check.optimizer_state(*names, [p.shape for p in self.params], state["state"])
        for options in groups:
            type(self)(self.params, **options)  # raises if an option is out of range
        for group, options in zip(self.param_groups, groups, strict=True):
            for name, value in options.items():
                if name in group:
                    group[name] = value
                else:
                    setattr(self, name, value)
        self.state = as_states(state["state"], self.params)

    def __repr__(self) -> str:
        name, groups = type(self).__name__, [self._described(group) for group in self.param_groups]
        if len(groups) == 1:
            return f"{name}({groups[0]})"
        lines = [f"  ({number}): {group}\n" for number, group in enumerate(groups)]
        return f"{name}(\n{''.join(lines)})"

    def _described(self, group: Group) -> str:
        count = len(group["params"])
        options = "".join(f", {name}={value!r}" for name, value in self._options(group).items())
        return f"{count} parameter{'s' * (count != 1)}{options}"


class CompiledOptimizer(Optimizer):
    """An optimizer whose step of all parameters of a group is one pass of the compiled core.

    It defines `step_arrays`. In a class of one's own below it, `update` may change one parameter in
    another way, as in any optimizer.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "update" in vars(cls) and "update_group" not in vars(cls):
            # A class that says how one parameter is updated means it for all of them.
            cls.update_group = Optimizer.update_group  # type: ignore[method-assign]

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Check the options of a group, but for the learning rate and the weight decay."""
        raise NotImplementedError(f"{type(self).__name__}.check_options")

    def check_groups(self) -> None:
        """Check the options of all groups."""
        for group in self.param_groups:
            self.check_options(group)

    def step_arrays(
        self, params: list[Array], grads: list[Array], states: list[dict[str, Any]]
    ) -> None:
        """Change parameters in place."""
        raise NotImplementedError(f"{type(self).__name__}.step_arrays")

    def update_group(
        self, params: list[Array], grads: list[Array], states: list[dict[str, Any]]
    ) -> None:
        self.step_arrays(params, grads, states)

    def update(self, p: Array, grad: Array, state: dict[str, Any], scratch: Array) -> None:
        self.step_arrays([p], [grad], [state])
