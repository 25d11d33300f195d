"""Checks of optimizers, schedules and the clipping of gradients."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bn._check.base import array, at_least, is_integer, is_number, positive_int, shape
from bn._check.nn import instance, whole_count

# ---- options ----


def nesterov(momentum: float, dampening: float) -> None:
    if momentum <= 0 or dampening != 0:
        raise ValueError(
            "nesterov needs a momentum > 0 and no dampening, "
            f"got momentum={momentum}, dampening={dampening}"
        )


def betas(value: object) -> None:
    values = value if isinstance(value, (tuple, list)) else ()
    if len(values) != 2 or not all(is_number(b) and 0 <= b < 1 for b in values):
        raise ValueError(f"betas must be two numbers, at least 0 and less than 1, got {value!r}")


def norm_type(value: object) -> None:
    if not is_number(value) or not value > 0:
        raise ValueError(f"norm_type must be a number above 0 or infinity, got {value!r}")


def max_norm(value: object) -> None:
    if not is_number(value) or not value >= 0:
        raise ValueError(f"max_norm must be a number of at least 0 or infinity, got {value!r}")


# ---- groups, and states ----


def param_group(optimizer: str, number: int, group: object, options: tuple[str, ...]) -> None:
    name = f"group {number} of params"
    if not isinstance(group, Mapping):
        raise TypeError(f"{name} must be a dict, as other groups are, got {type(group).__name__}")
    if "params" not in group:
        raise ValueError(f"{name} must have params, got {_listed(group)}")
    for key in group:
        if key not in ("params", *options):
            raise ValueError(
                f"{name} must have options of {optimizer} ({_listed(options)}), got {key!r}"
            )


def saved_groups(given: Mapping[str, Any], sizes: list[int], options: tuple[str, ...]) -> None:
    """Check the groups of a saved state against the sizes of an optimizer's groups."""
    if set(given) != {"param_groups", "state"}:
        raise ValueError(f"the state must have param_groups and state, got {_listed(given)}")
    groups = given["param_groups"]
    instance("the groups of the state", groups, Collection)
    for group in groups:
        instance("every group of the state", group, Mapping)
        if set(group) != {"params", *options}:
            raise ValueError(f"the state must have the options {_listed(options)}")
        instance("the params of every group of the state", group["params"], Collection)
    found = [len(group["params"]) for group in groups]
    if found != sizes:
        expected, got = (" + ".join(map(str, counts)) or "none" for counts in (sizes, found))
        raise ValueError(f"the state must be of {expected} parameters, got {got}")


def _listed(names: Collection[object]) -> str:
    return ", ".join(str(name) for name in names) or "nothing"


def optimizer_state(
    slots: tuple[str, ...], more: tuple[str, ...], shapes: list[tuple[int, ...]], given: object
) -> None:
    """Check the states of parameters against an optimizer's state names and their shapes.

    Each state that is not empty has all of `slots`, and may have some of `more`.
    """
    instance("the state of the parameters", given, Collection)
    assert isinstance(given, Collection)
    if len(given) != len(shapes):
        raise ValueError(f"the state must be of {len(shapes)} parameters, got {len(given)}")
    for i, (own, entry) in enumerate(zip(shapes, given, strict=True)):
        instance(f"the state of parameter {i}", entry, Mapping)
        if entry and not set(slots) <= set(entry) <= {*slots, *more}:
            raise ValueError(
                f"the state of parameter {i} must have {_listed(slots)}, got {_listed(entry)}"
            )
        for key, value in entry.items():
            _remembered(f"{key} of parameter {i}", key, value, own)


def _remembered(name: str, key: str, value: Any, own: tuple[int, ...]) -> None:
    if key == "step":
        whole_count(name, value)
        return
    values = array(name, value)
    shape(name, values, own)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold numbers, got dtype {values.dtype}")


# ---- schedules ----


def schedule_state(given: Mapping[str, Any], groups: int) -> None:
    if set(given) != {"base_lrs", "last_epoch"}:
        raise ValueError(f"the state must have base_lrs and last_epoch, got {_listed(given)}")
    rates("base_lrs", given["base_lrs"], groups)
    whole_count("last_epoch", given["last_epoch"])


def plateau_state(given: Mapping[str, Any], groups: int) -> None:
    instance("state", given, Mapping)
    counts = ("num_bad_epochs", "cooldown_counter", "last_epoch")
    names = ("lrs", "best", *counts)
    if set(given) != set(names):
        raise ValueError(f"the state must have {_listed(names)}, got {_listed(given)}")
    rates("lrs", given["lrs"], groups)
    measure(given["best"], "best")
    for name in counts:
        whole_count(name, given[name])


def rates(name: str, given: object, groups: int) -> None:
    if not isinstance(given, (list, tuple)) or len(given) != groups:
        raise ValueError(f"{name} must be a list of {groups} learning rates, got {given!r}")
    for rate in given:
        at_least(name.removesuffix("s"), rate, 0)


def inner_states(given: Mapping[str, Any], count: int) -> list[Any]:
    """Check that a state has the states of so many schedules; return them."""
    states = given.get("schedulers")
    if not isinstance(states, (list, tuple)) or len(states) != count:
        got = _listed(given) if states is None else repr(states)
        raise ValueError(f"the state must have schedulers, {count} states, got {got}")
    return list(states)


def rates_of_groups(own: int, groups: int) -> None:
    if own != groups:
        raise ValueError(
            f"a schedule must be made when its optimizer has all groups: it began with {own}, "
            f"got {groups}"
        )


def per_group(name: str, value: object, groups: int) -> list[float]:
    """Check one number of at least 0, or one for each group; return a list of them."""
    if isinstance(value, (list, tuple)):
        if len(value) != groups:
            raise ValueError(f"{name} must be one number or {groups} of them, got {value!r}")
        for each in value:
            at_least(name, each, 0)
        return [float(each) for each in value]
    at_least(name, value, 0)
    assert is_number(value)
    return [float(value)] * groups


def total_steps(total: object, epochs: object, steps_per_epoch: object) -> int:
    """Check the number of steps, or the two numbers whose product it is; return it."""
    if total is None and (epochs is None or steps_per_epoch is None):
        raise ValueError(
            "total_steps, or epochs and steps_per_epoch, must be positive integers, got "
            f"{total}, {epochs} and {steps_per_epoch}"
        )
    if total is not None:
        return _count("total_steps", total)
    return _count("epochs", epochs) * _count("steps_per_epoch", steps_per_epoch)


def _count(name: str, value: object) -> int:
    positive_int(name, value)
    assert is_integer(value)
    return int(value)


def has_momentum(group: Mapping[str, Any]) -> None:
    if "momentum" not in group and "betas" not in group:
        raise ValueError(
            "cycle_momentum needs an optimizer with momentum or betas, got one with "
            f"{_listed([name for name in group if name != 'params'])}"
        )


def within_cycle(step: int, total: int) -> None:
    if step > total:
        raise ValueError(f"OneCycleLR must have at most {total} steps, its total_steps, got {step}")


def positive_share(name: str, value: object) -> None:
    if not is_number(value) or not 0 < value <= 1:
        raise ValueError(f"{name} must be above 0 and at most 1, got {value!r}")


def share_below_one(name: str, value: object) -> None:
    if not is_number(value) or not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and less than 1, got {value!r}")


def measure(value: object, name: str = "metrics") -> None:
    if not is_number(value):
        raise ValueError(f"{name} must be a number, got {value!r}")


def schedules(given: list[Any], kind: type, optimizer: object) -> None:
    if not given:
        raise ValueError("schedulers must be at least one schedule, got none")
    for schedule in given:
        instance("each of schedulers", schedule, kind)
        if schedule.optimizer is not optimizer:
            raise ValueError("schedulers must all have the same optimizer, got another one")


def milestones(given: list[Any], count: int) -> None:
    rising = all(is_integer(epoch) for epoch in given) and given == sorted(set(given))
    if not rising or len(given) != count - 1 or (given and given[0] < 1):
        raise ValueError(
            f"milestones must be {count - 1} positive integers that rise, one fewer than there are "
            f"schedulers, got {given!r}"
        )
