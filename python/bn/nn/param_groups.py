"""Groups of parameters with options of their own; `no_decay`, which makes two of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from bn import _check
from bn.layers.batch_norm import BatchNorm
from bn.layers.sample_norm import SampleNorm
from bn.module import Module
from bn.nn.prelu import PReLU
from bn.parameter import Parameter

Group: TypeAlias = dict[str, Any]
NOT_DECAYED = (BatchNorm, SampleNorm, PReLU)


def no_decay(model: Module, weight_decay: float | None = None) -> list[Group]:
    """The parameters of a model in two groups, of which only the first has weight decay.

    Weight decay is meant for the weights of linear layers and convolutions. Parameters of
    normalizations, biases and the slopes of `PReLU` are in the second group.

    Parameters
    ----------
    model : Module
    weight_decay : float or None
        That of the first group; None leaves it to the optimizer.

    Returns
    -------
    list of dict
        The two groups, for an optimizer. One of them may be empty.

    Raises
    ------
    TypeError
        `model` is not a Module.
    ValueError
        `weight_decay` is not a number of at least 0.

    See Also
    --------
    Optimizer : What a group is.

    Notes
    -----
    A bias is a parameter whose name begins with ``bias``, as those of recurrent layers do. A
    parameter that several layers share is in the second group if it belongs there in one of them.

    Examples
    --------
    >>> from bn import BatchNorm1d, nn
    >>> model = nn.Sequential(nn.Linear(3, 4), BatchNorm1d(4), nn.Linear(4, 2))
    >>> nn.AdamW(no_decay(model), weight_decay=0.05)
    AdamW(
      (0): 2 parameters, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.05
      (1): 4 parameters, lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0
    )
    """
    _check.instance("model", model, Module)
    if weight_decay is not None:
        _check.at_least("weight_decay", weight_decay, 0)
    apart = {
        id(parameter)
        for _, layer in model.named_modules()
        for name, parameter in layer.own_parameters()
        if isinstance(layer, NOT_DECAYED) or name.startswith("bias")
    }
    params = model.parameters()
    decayed: Group = {"params": [p for p in params if id(p) not in apart]}
    if weight_decay is not None:
        decayed["weight_decay"] = weight_decay
    return [decayed, {"params": [p for p in params if id(p) in apart], "weight_decay": 0.0}]


def as_groups(
    optimizer: str,
    params: Iterable[Parameter] | Iterable[Mapping[str, Any]],
    option_names: tuple[str, ...],
) -> list[Group]:
    """What an optimizer gets as its parameters, as new groups; one if it got no groups."""
    _check.no_module("params", params, Module)
    _check.several("params", params)
    given: list[Any] = list(params)
    if not any(isinstance(each, Mapping) for each in given):
        return [{"params": given}]
    groups = []
    for number, group in enumerate(given):
        _check.param_group(optimizer, number, group, option_names)
        _check.no_module("params", group["params"], Module)
        one = isinstance(group["params"], Parameter)
        if not one:
            _check.several("params", group["params"])
        own = [group["params"]] if one else list(group["params"])
        groups.append({**group, "params": own})
    return groups


def as_saved_groups(
    state: Mapping[str, Any], sizes: list[int], option_names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The options of each group in a saved state, whose groups must have these sizes."""
    _check.instance("state", state, Mapping)
    if set(state) == {"options", "state"}:  # as optimizers without groups saved it
        _check.instance("the options of the state", state["options"], Mapping)
        _check.instance("the state of the parameters", state["state"], Collection)
        group = {**state["options"], "params": range(len(state["state"]))}
        state = {"param_groups": [group], "state": state["state"]}
    _check.saved_groups(state, sizes, option_names)
    return [{name: group[name] for name in option_names} for group in state["param_groups"]]


def as_states(states: Iterable[Mapping[str, Any]], params: list[Parameter]) -> list[dict[str, Any]]:
    """Saved states of parameters, which were checked, as an optimizer keeps them."""
    return [
        {key: int(v) if key == "step" else np.array(v, p.dtype) for key, v in state.items()}
        for p, state in zip(params, states, strict=True)
    ]
